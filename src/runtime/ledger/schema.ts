import { readFileSync } from 'node:fs';
import { EtlError } from '../../errors.js';
import { INSTALL_LOCK } from '../postgres/advisory-lock.js';
import { Pipeline } from '../postgres/pipeline.js';
import { send } from '../postgres/protocol.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { buildBriefSettings } from '../postgres/transaction.js';
import type { Ledger, LedgerSchema } from './ledger.js';
import { assertOwnTables, type FoundTables, TABLES } from './own-tables.js';
import { assertWritten, createNotWrittenError } from './row-not-written.js';

/** The version of the schema that this program needs: the number of the newest file in `migrations`. */
export const SCHEMA_VERSION = 2;

/**
 * Reads the DDL of a version for a schema: `migrations/0001.sql` for version 1. A file never changes after its release. The
 * tables are plain and have documented columns, because people query them. Each statement uses `if not exists`, so a DBA can
 * run the DDL by hand for a role that can't create schemas. Run the DDL with the `search_path` of `DDL_SETTINGS`.
 */
export function readMigration(version: number, { sql }: LedgerSchema): string {
  const name = `migrations/${String(version).padStart(4, '0')}.sql`;
  return readFileSync(new URL(name, import.meta.url), 'utf8').replaceAll('{schema}', sql);
}

/** The settings of a transaction that runs DDL. The objects that the DDL names are those of PostgreSQL itself. */
export const DDL_SETTINGS: readonly string[] = [
  'set local search_path = pg_catalog, pg_temp',
  // Other access methods have no unique keys or no deferred foreign keys.
  'set local default_table_access_method = heap',
];

/**
 * Selects the names of the columns of each relation that has the name of a table of the ledger, as one JSON object. The
 * catalog is newer than `to_regclass()`, whose answer may come from a cache that is older than the commit of another
 * installer. Also switches `exit_on_error` off, because the next statement fails in a database without a ledger.
 */
const READ_TABLES = `select coalesce(pg_catalog.json_object_agg(c.relname, array(
     select a.attname from pg_catalog.pg_attribute a
     where a.attrelid operator(pg_catalog.=) c.oid and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
     order by a.attnum)), '{}') as tables, pg_catalog.set_config('exit_on_error', 'off', true)
   from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
   where n.nspname operator(pg_catalog.=) $1 and c.relname operator(pg_catalog.=) any($2)`;

const TABLE_NAMES = Object.keys(TABLES);

const buildReadVersion = ({ sql }: LedgerSchema): string =>
  `select coalesce(pg_catalog.max(version), 0) as version from ${sql}.migration`;

/**
 * Reads the version of the ledger in a database. Returns 0 if the database has no ledger. `databaseName` names the database
 * in an error. Throws ETL-4008 if the tables of the schema are not the ledger's.
 */
export async function readVersion({ client, schema }: Ledger, databaseName: string): Promise<number> {
  const { rows } = await send(client, READ_TABLES, [schema.name, TABLE_NAMES]);
  const { tables } = rows[0] as { readonly tables: FoundTables };
  if (!assertOwnTables(tables, { schema, databaseName })) return 0;
  const { rows: versions } = await send(client, buildReadVersion(schema));
  return Number(versions[0]?.version);
}

/**
 * Returns true if the ledger has the version of this program. Needs one round trip. Do not call this function in a
 * transaction, which a failed query would abort.
 * Throws ETL-4008 if the tables of the schema are not the ledger's.
 */
export async function isCurrent({ client, schema }: Ledger, databaseName: string): Promise<boolean> {
  const found: FoundTables[] = [];
  const statements = [
    { text: READ_TABLES, values: [schema.name, `{${TABLE_NAMES.join(',')}}`] },
    { text: buildReadVersion(schema) },
  ];
  const onAnswer = ({ rows }: { rows: readonly (readonly (string | null)[])[] }): void =>
    void found.push(JSON.parse(rows[0]?.[0] ?? '{}') as FoundTables);
  try {
    const answers = await new Pipeline(statements, undefined, onAnswer).send(client);
    return (
      assertOwnTables(found[0] ?? {}, { schema, databaseName }) &&
      Number(answers[1]?.rows[0]?.[0]) === SCHEMA_VERSION
    );
  } catch (error) {
    // The version can't be read from a database without a ledger, or from the tables of another program.
    if (found[0] !== undefined && !assertOwnTables(found[0], { schema, databaseName })) return false;
    throw error;
  }
}

/**
 * Finds what would make a run fail because of the ledger: it is newer than this program, its schema has tables of another
 * program, or it must be installed and the role may not create schemas. Changes nothing. `databaseName` names the database
 * in the error.
 */
export async function findLedgerFault(ledger: Ledger, databaseName: string): Promise<EtlError | undefined> {
  const { client, schema } = ledger;
  const version = await readVersion(ledger, databaseName).catch((error: unknown) => {
    if (error instanceof EtlError) return error;
    throw error;
  });
  if (version instanceof EtlError) return version;
  if (version > SCHEMA_VERSION) return createNewerSchemaError(schema, databaseName, version);
  if (version > 0) return undefined;
  const { rows } = await send(
    client,
    `select coalesce(pg_catalog.has_schema_privilege(pg_catalog.max(oid), 'create'),
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create')) as may_create
     from pg_catalog.pg_namespace where nspname operator(pg_catalog.=) $1`,
    [schema.name],
  );
  if (rows[0]?.may_create === true) return undefined;
  return new EtlError('ETL-4007', {
    what: `${databaseName} has no ledger in the schema "${schema.name}" yet, and its role may not create it`,
    why: `a run records its tasks in the schema "${schema.name}" of each database that it writes to`,
    fix: 'let a DBA run the script that `etl ledger sql` prints, and grant this role what the end of the script lists',
    data: 'nothing was changed',
  });
}

/**
 * Brings the ledger to this program's version. Each migration is one transaction. Several installers can work at once.
 * Changes nothing if the ledger is current, so a role without the right to create schemas can run. `databaseName` names the
 * database in an error. Throws ETL-4001 if the ledger is newer than the program, and ETL-4008, without a change, if the
 * tables of the schema are not the ledger's.
 */
export async function migrate(ledger: Ledger, databaseName: string): Promise<void> {
  let version = await readVersion(ledger, databaseName);
  while (version < SCHEMA_VERSION) {
    await installVersion(ledger, version + 1, databaseName);
    const installed = await readVersion(ledger, databaseName);
    if (installed <= version) throw createNotWrittenError(ledger.schema, 'migration', 'nothing was started');
    version = installed;
  }
  if (version > SCHEMA_VERSION) throw createNewerSchemaError(ledger.schema, databaseName, version);
}

/** Returns true if the server's error says that a table or a schema does not exist. */
export function isNotInstalled(error: unknown): boolean {
  const code = findDatabaseError(error)?.code;
  return code === '42P01' || code === '3F000'; // undefined_table and invalid_schema_name
}

/**
 * Installs one version of the ledger in a transaction of its own, if no other installer has installed it. A lock lets
 * one installer at a time work in this database. Rolls back and throws if a statement fails.
 */
async function installVersion(ledger: Ledger, version: number, databaseName: string): Promise<void> {
  const { client, schema } = ledger;
  const begin = [
    'begin isolation level read committed',
    ...buildBriefSettings(client),
    'set local statement_timeout = 0',
    `set local lock_timeout = '60s'`,
    ...DDL_SETTINGS,
    `select pg_catalog.pg_advisory_xact_lock(${INSTALL_LOCK}::pg_catalog.int8)`,
  ];
  await send(client, begin.join('; '));
  try {
    // Another installer may have installed the version while this installer waited for the lock.
    if ((await readVersion(ledger, databaseName)) < version) {
      await createSchema(ledger);
      await send(client, readMigration(version, schema));
      const { rowCount } = await send(client, `insert into ${schema.sql}.migration (version) values ($1)`, [
        version,
      ]);
      assertWritten(rowCount, 1, { schema, table: 'migration' });
    }
    await send(client, 'commit');
  } catch (error) {
    // Throw the first error: if the rollback fails too, its error says only that the connection is lost.
    await send(client, 'rollback').catch(() => undefined);
    throw error;
  }
}

/**
 * Creates the schema, if it does not exist. Without the question, the server would refuse the statement also for a schema
 * that exists, if the role may not create schemas.
 */
async function createSchema({ client, schema }: Ledger): Promise<void> {
  const { rows } = await send(
    client,
    'select from pg_catalog.pg_namespace where nspname operator(pg_catalog.=) $1',
    [schema.name],
  );
  if (rows.length === 0) await send(client, `create schema if not exists ${schema.sql}`);
}

function createNewerSchemaError({ name }: LedgerSchema, databaseName: string, version: number): EtlError {
  return new EtlError('ETL-4001', {
    what: `the schema "${name}" in ${databaseName} has version ${version}, and this program knows versions up to ${SCHEMA_VERSION}`,
    why: 'a newer release of etl has migrated this database',
    fix: 'update @oneshot/etl',
    data: 'nothing was started',
  });
}
