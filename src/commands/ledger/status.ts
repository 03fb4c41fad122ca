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

/** `etl ledger status`: shows the version of the ledger in one database or in each database that a Dag writes to. */
export class LedgerStatusCommand extends EtlCommand {
  static override summary = 'Show the version of the ledger in each database.';
  static override description =
    "Exit codes: 0 all ledgers are up to date, 1 a ledger must be installed or migrated, 2 a ledger is newer than this program, 69 a database can't be reached.";
  static override examples = [
    '<%= config.bin %> ledger status',
    '<%= config.bin %> ledger status my_db --json',
  ];
  static override args = {
    connection: Args.string({
      description: 'The ID of a connection. Default: all connections that Dags write to.',
    }),
  };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(LedgerStatusCommand);
    const program = await this.loadProgram(flags);
    const connections = listNamedOrUsed(program, args.connection);
    const versions = await readVersions(program, connections);
    process.exitCode = chooseVersionsExitCode(versions);
    if (flags.json) return this.printJson(buildVersionsJson(versions));
    if (versions.length === 0) return this.err('no Dag has a connection\n');
    this.out(formatVersions(versions, this.paint(flags.color, 'stdout')));
    this.err(formatVersionErrors(versions, this.paint(flags.color, 'stderr')));
    if (process.exitCode === EXIT.taskFailed)
      this.err('run `etl ledger migrate` to install or migrate them; the next run does so too\n');
  }
}
