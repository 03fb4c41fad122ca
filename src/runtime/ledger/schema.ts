import { readFileSync } from 'node:fs';
import { EtlError } from '../../errors.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { BRIEF } from '../postgres/transaction.js';
import { INSTALL_LOCK } from '../postgres/advisory-lock.js';

/** The version of the schema that this program needs: the number of the newest file in `migrations`. */
export const SCHEMA_VERSION = 2;

/**
 * Reads the DDL of a version: `migrations/0001.sql` for version 1. A file never changes after its release. The tables
 * are plain and have documented columns, because people query them. Each statement uses `if not exists`, so a DBA can
 * run the DDL by hand for a role that can't create schemas.
 */
export function readMigration(version: number): string {
  return readFileSync(new URL(`migrations/${String(version).padStart(4, '0')}.sql`, import.meta.url), 'utf8');
}

// to_regclass() would be wrong here: its answer may come from a cache that is older than the commit of another
// installer.
const IS_INSTALLED = `select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'etl' and c.relname = 'migration') as installed`;

const READ_VERSION = 'select coalesce(max(version), 0) as version from etl.migration';

/** Reads the version of the schema `etl` in a database. Returns 0 if the schema does not exist. */
export async function readVersion(client: ProtocolClient): Promise<number> {
  const { rows } = await send(client, IS_INSTALLED);
  if (rows[0]?.installed !== true) return 0;
  const { rows: versions } = await send(client, READ_VERSION);
  return Number(versions[0]?.version);
}

/**
 * Brings the schema `etl` to this program's version. Each migration is one transaction. Several installers can work at
 * once. Changes nothing if the schema is current, so a role without the right to create schemas can run. `databaseName`
 * names the database in an error. Throws ETL-4001 if the schema is newer than the program.
 */
export async function migrate(client: ProtocolClient, databaseName: string): Promise<void> {
  let version = await readVersionInOneQuery(client);
  while (version < SCHEMA_VERSION) {
    await installVersion(client, version + 1);
    version = await readVersion(client);
  }
  if (version > SCHEMA_VERSION) throw createNewerSchemaError(databaseName, version);
}

/**
 * Finds what would make a run fail because of the schema `etl`: the schema is newer than this program, or it must be
 * installed and the role may not create schemas. Changes nothing. `databaseName` names the database in the error.
 */
export async function findLedgerFault(
  client: ProtocolClient,
  databaseName: string,
): Promise<EtlError | undefined> {
  const version = await readVersion(client);
  if (version > SCHEMA_VERSION) return createNewerSchemaError(databaseName, version);
  if (version > 0) return undefined;
  const { rows } = await send(
    client,
    `select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') as may_create`,
  );
  if (rows[0]?.may_create === true) return undefined;
  return new EtlError('ETL-4007', {
    what: `${databaseName} has no schema "etl" yet, and its role may not create schemas`,
    why: 'a run records its tasks in the schema "etl" of each database that it writes to',
    fix: 'let a DBA run the script that `etl ledger sql` prints, and grant this role what the end of the script lists',
    data: 'nothing was changed',
  });
}

/**
 * Reads the version with one query, which fails if the schema does not exist. Returns 0 then. Do not call this function
 * in a transaction, which the failed query would abort. `readVersion` can be called in a transaction, but needs two
 * queries.
 */
async function readVersionInOneQuery(client: ProtocolClient): Promise<number> {
  try {
    const { rows } = await send(client, READ_VERSION);
    return Number(rows[0]?.version);
  } catch (error) {
    if (isNotInstalled(error)) return 0;
    throw error;
  }
}

/** Returns true if the server's error says that a table or a schema does not exist. */
export function isNotInstalled(error: unknown): boolean {
  const code = findDatabaseError(error)?.code;
  return code === '42P01' || code === '3F000'; // undefined_table and invalid_schema_name
}

/**
 * Installs one version of the schema in a transaction of its own, if no other installer has installed it. A lock lets
 * one installer at a time work in this database. Rolls back and throws if a statement fails.
 */
async function installVersion(client: ProtocolClient, version: number): Promise<void> {
  await send(
    client,
    [
      'begin',
      `set local lock_timeout = '60s'`,
      ...BRIEF,
      `select pg_advisory_xact_lock(${INSTALL_LOCK})`,
    ].join('; '),
  );
  try {
    // Another installer may have installed the version while this installer waited for the lock.
    if ((await readVersion(client)) < version) {
      await send(client, readMigration(version));
      await send(client, 'insert into etl.migration (version) values ($1)', [version]);
    }
    await send(client, 'commit');
  } catch (error) {
    // Throw the first error: if the rollback fails too, its error says only that the connection is lost.
    await send(client, 'rollback').catch(() => undefined);
    throw error;
  }
}

function createNewerSchemaError(databaseName: string, version: number): EtlError {
  return new EtlError('ETL-4001', {
    what: `the schema "etl" in ${databaseName} has version ${version}, and this program knows versions up to ${SCHEMA_VERSION}`,
    why: 'a newer release of etl has migrated this database',
    fix: 'update @oneshot/etl',
    data: 'nothing was started',
  });
}
