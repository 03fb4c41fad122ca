import { EtlCommand } from '../../command.js';
import { SCHEMA_VERSION } from '../../runtime/ledger/schema.js';
import { buildLedgerScript } from '../../runtime/ledger/script.js';

/** `etl ledger sql`: prints the script that installs or migrates the ledger. */
export class LedgerSqlCommand extends EtlCommand {
  static override summary = 'Print the SQL that installs the ledger, for a DBA.';
  static override description =
    'The command needs no config and no database. After a DBA has run the script, a role without the permission to create schemas can run Dags.';
  static override examples = [
    '<%= config.bin %> ledger sql > ledger.sql',
    '<%= config.bin %> ledger sql | psql -v ON_ERROR_STOP=1 -f - postgres://…',
  ];

  override async run(): Promise<void> {
    const { flags } = await this.parse(LedgerSqlCommand);
    const sql = buildLedgerScript();
    if (flags.json) this.printJson({ version: SCHEMA_VERSION, sql });
    else this.out(sql);
  }
}
