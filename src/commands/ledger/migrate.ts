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

export class LedgerMigrateCommand extends EtlCommand {
  static override summary = 'Install the ledger, or bring it up to date.';
  static override description = `A run does it by itself, if its role may.

Exit codes: 0 all are up to date, 2 one is newer than this program or may not be changed, 69 one can't be reached.`;
  static override examples = ['<%= config.bin %> ledger migrate', '<%= config.bin %> ledger migrate my_db'];
  static override args = {
    connection: Args.string({ description: 'One connection, instead of all that Dags write to.' }),
  };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(LedgerMigrateCommand);
    const program = await this.loadProgram(flags);
    const connections = listNamedOrUsed(program, args.connection);
    const versions = await migrateAll(program, connections);
    process.exitCode = chooseVersionsExitCode(versions);
    if (flags.json) return this.printJson(buildVersionsJson(versions));
    if (versions.length === 0) return this.err('No Dag has a connection.\n');
    this.out(formatVersions(versions, this.paint(flags.color, 'stdout')));
    this.err(formatVersionErrors(versions, this.paint(flags.color, 'stderr')));
  }
}
