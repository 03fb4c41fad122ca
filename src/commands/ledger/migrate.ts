import { migrateLedger } from './versions.js';
import { LedgerVersionsCommand } from './versions-command.js';

/** `etl ledger migrate`: installs or migrates the ledger in one database or in each database that a Dag writes to. */
export class LedgerMigrateCommand extends LedgerVersionsCommand {
  static override summary = 'Install the ledger, or migrate it to the version of this program.';
  static override description = `A run migrates the ledger by itself, if its database role has the permission.

Exit codes: 0 all ledgers are up to date, 2 a ledger is newer than this program or can't be changed, 69 a database can't be \
reached.`;
  static override examples = ['<%= config.bin %> ledger migrate', '<%= config.bin %> ledger migrate my_db'];

  protected override readonly visit = migrateLedger;
}
