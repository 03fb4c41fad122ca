import { type ProtocolClient, send } from './protocol.js';

/** The words for each `source` of the setting. https://www.postgresql.org/docs/current/view-pg-settings.html */
const SOURCES: Readonly<Record<string, string>> = {
  client: 'the options of the connection set it',
  user: 'the role has this setting (alter role … set …)',
  database: 'the database has this setting (alter database … set …)',
  'database user': 'the role has this setting in this database (alter role … in database … set …)',
  'configuration file': 'the configuration of the server sets it',
};

/** The reason why a database accepts no writes, and the advice. */
export interface ReadOnlyReason {
  readonly why: string;
  readonly fix: string;
}

/** Asks a server why it accepts no writes. Returns undefined if the server says nothing about it. */
export async function explainReadOnly(client: ProtocolClient): Promise<ReadOnlyReason | undefined> {
  const { rows } = await send(
    client,
    `select pg_catalog.pg_is_in_recovery() as standby, setting, source
     from pg_catalog.pg_settings where name operator(pg_catalog.=) 'default_transaction_read_only'`,
  );
  const [found] = rows as readonly { standby: boolean; setting: string; source: string }[];
  if (found?.standby === true)
    return {
      why: 'the server is a standby, which accepts only reads (pg_is_in_recovery)',
      fix: 'connect to the primary server; target_session_attrs=read-write chooses it from several hosts',
    };
  if (found?.setting !== 'on') return undefined;
  return {
    why: `default_transaction_read_only is on: ${SOURCES[found.source] ?? `its source is "${found.source}"`}`,
    fix: 'turn off default_transaction_read_only there',
  };
}
