import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import { EXIT } from '../../errors.js';
import {
  listNamedOrUsed,
  readVersions,
  formatVersionErrors,
  chooseVersionsExitCode,
  buildVersionsJson,
  formatVersions,
} from './versions.js';

export class LedgerStatusCommand extends EtlCommand {
  static override summary = 'Say which version of the ledger each database has.';
  static override description =
    "Exit codes: 0 all are up to date, 1 one must be installed or migrated, 2 one is newer than this program, 69 one can't be reached.";
  static override examples = [
    '<%= config.bin %> ledger status',
    '<%= config.bin %> ledger status my_db --json',
  ];
  static override args = {
    connection: Args.string({ description: 'One connection, instead of all that Dags write to.' }),
  };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(LedgerStatusCommand);
    const program = await this.loadProgram(flags);
    const connections = listNamedOrUsed(program, args.connection);
    const versions = await readVersions(program, connections);
    process.exitCode = chooseVersionsExitCode(versions);
    if (flags.json) return this.printJson(buildVersionsJson(versions));
    if (versions.length === 0) return this.err('No Dag has a connection.\n');
    this.out(formatVersions(versions, this.paint(flags.color, 'stdout')));
    this.err(formatVersionErrors(versions, this.paint(flags.color, 'stderr')));
    if (process.exitCode === EXIT.taskFailed)
      this.err('`etl ledger migrate` brings them up to date, and so does the next run.\n');
  }
}
