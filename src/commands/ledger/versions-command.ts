import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import { EXIT } from '../../errors.js';
import {
  buildVersionsJson,
  chooseVersionsExitCode,
  formatVersions,
  visitLedgers,
  type VisitLedger,
} from './versions.js';
import { setExitCode } from '../program/process-end.js';

/** The base class of the commands that visit ledgers and then show their versions. */
export abstract class LedgerVersionsCommand extends EtlCommand {
  static override args = {
    connection: Args.string({
      description: 'The ID of a connection. Default: all connections that Dags write to.',
    }),
  };
  static override flags = { conn: connFlag };

  /** The work of the command on one ledger. */
  protected abstract readonly visit: VisitLedger;
  /** The line for a person who must install or migrate a ledger. */
  protected readonly advice: string = '';

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(LedgerVersionsCommand);
    const program = await this.loadProgram(flags);
    const versions = await visitLedgers(program, args.connection, this.visit);
    const exitCode = chooseVersionsExitCode(versions);
    setExitCode(exitCode);
    if (flags.json) return this.printJson(buildVersionsJson(versions));
    if (versions.length === 0) return this.err('no Dag has a connection\n');
    this.out(formatVersions(versions, this.paint(flags.color, 'stdout')));
    this.printErrors(versions, flags.color);
    if (exitCode === EXIT.taskFailed) this.err(this.advice);
  }
}
