import { readLedgerVersion } from './versions.js';
import { LedgerVersionsCommand } from './versions-command.js';

/** `etl ledger status`: shows the version of the ledger in one database or in each database that a Dag writes to. */
export class LedgerStatusCommand extends LedgerVersionsCommand {
  static override summary = 'Show the version of the ledger in each database.';
  static override description =
    "Exit codes: 0 all ledgers are up to date, 1 a ledger must be installed or migrated, 2 a ledger is newer than this program, 69 a database can't be reached.";
  static override examples = [
    '<%= config.bin %> ledger status',
    '<%= config.bin %> ledger status my_db --json',
  ];

  protected override readonly visit = readLedgerVersion;
  protected override readonly advice =
    'run `etl ledger migrate` to install or migrate them; the next run does so too\n';
}
