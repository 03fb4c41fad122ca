import * as Flags from '@oclif/core/flags';
import { EtlCommand } from '../../command.js';
import { EtlError } from '../../errors.js';
import { nameSchema } from '../../runtime/ledger/ledger.js';
import { SCHEMA_VERSION } from '../../runtime/ledger/schema.js';
import { buildLedgerScript } from '../../runtime/ledger/script.js';

/** `etl ledger sql`: prints the script that installs or migrates the ledger. */
export class LedgerSqlCommand extends EtlCommand {
  static override summary = 'Print the SQL that installs the ledger, for a DBA.';
  static override description =
    'The command needs no database. It reads only the name of the schema from the config, if there is a config. After a DBA has run the script, a role without the permission to create schemas can run Dags.';
  static override examples = [
    '<%= config.bin %> ledger sql > ledger.sql',
    '<%= config.bin %> ledger sql | psql -v ON_ERROR_STOP=1 -f - postgres://…',
    '<%= config.bin %> ledger sql --schema etl_shop',
  ];
  static override flags = {
    schema: Flags.string({
      description: 'The schema of the ledger. Default: `ledger.schema` of the config; else etl.',
      helpValue: '<name>',
    }),
  };

  override async run(): Promise<void> {
    const { flags } = await this.parse(LedgerSqlCommand);
    const schema = nameSchema(flags.schema ?? (await this.#readSchemaName(flags)));
    const sql = buildLedgerScript(schema);
    if (flags.json) this.printJson({ version: SCHEMA_VERSION, sql });
    else this.out(sql);
  }

  /** Reads the name of the schema from the config. Returns undefined if no config is named and none is found. */
  async #readSchemaName(flags: { config?: string | undefined }): Promise<string | undefined> {
    try {
      return (await this.loadProgram(flags)).ledgerSchema.name;
    } catch (error) {
      const isNamed = flags.config !== undefined || process.env['ETL_CONFIG'] !== undefined;
      if (!isNamed && error instanceof EtlError && error.code === 'ETL-2101') return undefined;
      throw error;
    }
  }
}
