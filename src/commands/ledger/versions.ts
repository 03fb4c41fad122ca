import { listLedgerConnections, mapDagConnections } from '../program/dag-connections.js';
import { EtlError, EXIT } from '../../errors.js';
import { formatDsn, type Connection } from '../../hooks/connection.js';
import { formatMarkedTable } from '../history/history-text.js';
import { isUncreated, openDatabase } from '../program/ledgers.js';
import type { Program } from '../program/program.js';
import { migrate, SCHEMA_VERSION, readVersion } from '../../runtime/ledger/schema.js';
import type { Ledger } from '../../runtime/ledger/ledger.js';
import type { RunDatabase } from '../../runtime/database/run-database.js';
import { buildErrorFields, type Paint, joinLines } from '../../runtime/report/words.js';
import { findDatabaseError, describeState } from '../../runtime/postgres/sqlstate.js';
import { ANSWER_MS, MIGRATE_MS } from '../../runtime/waiting.js';

/** The version of the ledger in one database, before and after the command. */
export interface LedgerVersion {
  /** The ID of the connection. */
  readonly id: string;
  /** The location of the connection, with a masked password. */
  readonly dsn: string;
  /** The version that the command found; 0 if the database has no ledger. Undefined if the version can't be read. */
  readonly found: number | undefined;
  /** The version after the command. Differs from `found` only if the command has migrated the ledger. */
  readonly version: number | undefined;
  readonly error: EtlError | undefined;
}

/** Reads or migrates the ledger of one connection. Returns the versions before and after. */
export type VisitLedger = (
  program: Program,
  connection: Connection,
) => Promise<{ readonly found: number; readonly version: number }>;

/**
 * Calls `visit` for the connection `named`, or for each connection that a Dag writes to, one after the other. Returns a
 * result for each. If `visit` throws, the result of this connection has the error, and the next connection follows.
 * Rethrows an error that is a bug of etl. Throws an `EtlError` before the first visit if a connection is not defined.
 */
export async function visitLedgers(
  program: Program,
  named: string | undefined,
  visit: VisitLedger,
): Promise<readonly LedgerVersion[]> {
  const ids = named === undefined ? listLedgerConnections(mapDagConnections(program)) : [named];
  const versions: LedgerVersion[] = [];
  const connections: Connection[] = [];
  for (const id of ids) connections.push(await program.lookup.load(id));
  for (const connection of connections) {
    const { id } = connection;
    const base = { id, dsn: formatDsn(connection) };
    try {
      versions.push({ ...base, ...(await visit(program, connection)), error: undefined });
    } catch (error) {
      versions.push({ ...base, found: undefined, version: undefined, error: toEtlError(error, id) });
    }
  }
  return versions;
}

/** Reads the version of a ledger. Creates neither a ledger nor an embedded database. */
export const readLedgerVersion: VisitLedger = async (program, connection) => {
  if (isUncreated(connection, program)) return { found: 0, version: 0 };
  const version = await withClient(await openDatabase(program, connection), (ledger) =>
    readVersion(ledger, nameDatabase(connection)),
  );
  return { found: version, version };
};

/**
 * Migrates a ledger to the version of this program. Creates the ledger, and an embedded database, if it does not exist
 * yet.
 */
export const migrateLedger: VisitLedger = async (program, connection) =>
  withClient(
    await openDatabase(program, connection),
    async (ledger) => {
      const name = nameDatabase(connection);
      const found = await readVersion(ledger, name);
      await migrate(ledger, name);
      return { found, version: await readVersion(ledger, name) };
    },
    MIGRATE_MS,
  );

/** Names the database of a connection in an error. */
function nameDatabase({ id }: Connection): string {
  return `connection "${id}"`;
}

/**
 * Returns exit code 2 if a ledger is newer than the program or can't be read or changed, else 69 if a database can't be
 * reached, else 1 if a ledger must be installed or migrated, else 0.
 */
export function chooseVersionsExitCode(versions: readonly LedgerVersion[]): number {
  const codes = new Set(versions.map(getExitCode));
  return [EXIT.usage, EXIT.unreachable, EXIT.taskFailed].find((code) => codes.has(code)) ?? EXIT.success;
}

/** Formats the versions for a person: one line a connection. */
export function formatVersions(versions: readonly LedgerVersion[], paint: Paint): string {
  const lines = versions.map((each) => ({
    state: getExitCode(each) === EXIT.success ? 'success' : 'failed',
    cells: [each.id, each.dsn, describeVersion(each)],
  }));
  return joinLines(formatMarkedTable(lines, paint));
}

/** Returns the JSON of the versions for another program. */
export function buildVersionsJson(versions: readonly LedgerVersion[]): unknown {
  return versions.map(({ id, dsn, found, version, error }) => ({
    connection: id,
    place: dsn,
    found_version: found,
    version,
    program_version: SCHEMA_VERSION,
    state: version === undefined ? undefined : classifyVersion(version),
    error: error && buildErrorFields(error),
  }));
}

type VersionState = 'current' | 'missing' | 'old' | 'newer';

/** Compares the version of a ledger with the version of this program. `missing`: the database has no ledger. */
function classifyVersion(version: number): VersionState {
  if (version === SCHEMA_VERSION) return 'current';
  if (version > SCHEMA_VERSION) return 'newer';
  return version === 0 ? 'missing' : 'old';
}

/**
 * Returns the exit code for one ledger: the exit code of its error; else 0 if it is up to date, 2 if it is newer than
 * this program, and 1 if it must be installed or migrated.
 */
function getExitCode({ version, error }: LedgerVersion): number {
  if (error !== undefined) return error.exitCode;
  const state = version === undefined ? 'missing' : classifyVersion(version);
  if (state === 'current') return EXIT.success;
  return state === 'newer' ? EXIT.usage : EXIT.taskFailed;
}

/**
 * Describes a ledger in words: the code of its error, what the command changed (`migrated from version 1 to 2`), or its
 * version (`version 2, up to date`).
 */
function describeVersion({ found, version, error }: LedgerVersion): string {
  if (error !== undefined || version === undefined) return error?.code ?? '';
  if (found === 0 && version > 0) return `installed version ${version}`;
  if (found !== version) return `migrated from version ${found ?? 0} to ${version}`;
  const words: Record<VersionState, string> = {
    current: `version ${version}, up to date`,
    missing: 'not installed',
    old: `version ${version}, must be migrated to ${SCHEMA_VERSION}`,
    newer: `version ${version}, newer than this program, which knows versions up to ${SCHEMA_VERSION}`,
  };
  return words[classifyVersion(version)];
}

/**
 * Calls `work` with a client of the database, and returns its result. Closes the database in every case. Throws ETL-1004 if
 * `work` has not ended after `limitMs` milliseconds.
 */
async function withClient<T>(
  database: RunDatabase,
  work: (ledger: Ledger) => Promise<T>,
  limitMs = ANSWER_MS,
): Promise<T> {
  try {
    return await database.with(work, limitMs);
  } finally {
    await database.close();
  }
}

/**
 * Returns an `EtlError` as it is, and converts an error of the server to ETL-4005. Rethrows any other error, because
 * it is a bug of etl.
 */
function toEtlError(error: unknown, id: string): EtlError {
  if (error instanceof EtlError) return error;
  const cause = findDatabaseError(error);
  if (cause === undefined) throw error;
  return new EtlError('ETL-4005', {
    what: `the ledger in connection "${id}" can't be read or installed: ${cause.message}`,
    why: describeState(cause.code),
    fix: 'let a DBA run the script that `etl ledger sql` prints, and grant this role what the end of the script lists',
    cause: error,
  });
}
