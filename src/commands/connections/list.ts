import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import { EXIT } from '../../errors.js';
import { formatTable } from '../program/terminal.js';

export class ConnectionsListCommand extends EtlCommand {
  static override summary = 'List the connections of every source, with the source, and without passwords.';
  static override description =
    'The first of these that defines an ID wins: --conn, ETL_CONN_<ID>, AIRFLOW_CONN_<ID>, the config; for the ID "default" also DATABASE_URL and PG*.';
  static override examples = [
    '<%= config.bin %> connections list',
    '<%= config.bin %> connections list my_prefix_ --json',
  ];
  static override args = {
    prefix: Args.string({ description: 'Only IDs that begin with it, whatever the case.' }),
  };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(ConnectionsListCommand);
    const { lookup } = await this.loadProgram(flags);
    const entries = lookup.list(args.prefix);
    if (entries.some(({ error }) => error !== undefined)) process.exitCode = EXIT.usage;
    if (flags.json) return this.printJson(entries);
    if (entries.length === 0) {
      const { prefix } = args;
      return this.err(`No connection ${prefix === undefined ? 'is defined' : `begins with "${prefix}"`}.\n`);
    }
    const rows = entries.map(({ id, scheme = '-', place = '-', source }) => [id, scheme, place, source]);
    this.out(formatTable([['ID', 'TYPE', 'PLACE', 'SOURCE'], ...rows]));
    for (const { id, error } of entries)
      if (error !== undefined) this.err(`"${id}" can't be used. ${error}\n`);
  }
}
