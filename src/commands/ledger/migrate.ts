import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import {
  migrateAll,
  listNamedOrUsed,
  formatVersionErrors,
  chooseVersionsExitCode,
  buildVersionsJson,
  formatVersions,
} from './versions.js';

/** `etl ledger migrate`: installs or migrates the ledger in one database or in each database that a Dag writes to. */
export class LedgerMigrateCommand extends EtlCommand {
  static override summary = 'Install the ledger, or migrate it to the version of this program.';
  static override description = `A run migrates the ledger by itself, if its database role has the permission.

Exit codes: 0 all ledgers are up to date, 2 a ledger is newer than this program or can't be changed, 69 a database can't be \
reached.`;
  static override examples = ['<%= config.bin %> ledger migrate', '<%= config.bin %> ledger migrate my_db'];
  static override args = {
    connection: Args.string({
      description: 'The ID of a connection. Default: all connections that Dags write to.',
    }),
  };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(LedgerMigrateCommand);
    const program = await this.loadProgram(flags);
    const connections = listNamedOrUsed(program, args.connection);
    const versions = await migrateAll(program, connections);
    process.exitCode = chooseVersionsExitCode(versions);
    if (flags.json) return this.printJson(buildVersionsJson(versions));
    if (versions.length === 0) return this.err('no Dag has a connection\n');
    this.out(formatVersions(versions, this.paint(flags.color, 'stdout')));
    this.err(formatVersionErrors(versions, this.paint(flags.color, 'stderr')));
  }
}
