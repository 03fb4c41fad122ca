import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import { EXIT } from '../../errors.js';
import { formatTable } from '../program/terminal.js';
import { setExitCode } from '../program/process-end.js';

/**
 * `etl connections list`: lists the connections that are defined, without opening them. Exits with 2 if a definition
 * can't be read, but lists all other connections.
 */
export class ConnectionsListCommand extends EtlCommand {
  static override summary =
    'List all connections that are defined, and where each is defined, without passwords.';
  static override description =
    'The first definition of an ID is used, in this order: --conn, ETL_CONN_<ID>, AIRFLOW_CONN_<ID>, the config; for the ID "default" then DATABASE_URL and PG*.';
  static override examples = [
    '<%= config.bin %> connections list',
    '<%= config.bin %> connections list my_prefix_ --json',
  ];
  static override args = {
    prefix: Args.string({
      description: 'List only IDs that begin with this prefix. Upper and lower case are the same.',
    }),
  };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(ConnectionsListCommand);
    const { lookup } = await this.loadProgram(flags);
    const entries = lookup.list(args.prefix);
    if (entries.some(({ error }) => error !== undefined)) setExitCode(EXIT.usage);
    if (flags.json) return this.printJson(entries);
    if (entries.length === 0) {
      const { prefix } = args;
      return this.err(`no connection ${prefix === undefined ? 'is defined' : `begins with "${prefix}"`}\n`);
    }
    const rows = entries.map(({ id, scheme = '-', place = '-', source }) => [id, scheme, place, source]);
    this.out(formatTable([['ID', 'TYPE', 'PLACE', 'SOURCE'], ...rows]));
    for (const { id, error } of entries)
      if (error !== undefined) this.err(`connection "${id}" can't be used: ${error}\n`);
  }
}
