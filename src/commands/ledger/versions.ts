import { listLedgerConnections, listDagConnections } from '../program/dag-connections.js';
import { EtlError, EXIT } from '../../errors.js';
import { formatDsn, type Connection } from '../../hooks/connection.js';
import { formatMarkedTable } from '../history/history-text.js';
import { isUnborn, openDatabase } from '../program/ledgers.js';
import type { Program } from '../program/program.js';
import { migrate, SCHEMA_VERSION, readVersion } from '../../runtime/ledger/schema.js';
import type { ProtocolClient } from '../../runtime/postgres/protocol.js';
import type { RunDatabase } from '../../runtime/database/run-database.js';
import { buildErrorFields, formatErrorLines, type Paint, joinLines } from '../../runtime/report/words.js';
import { findDatabaseError, describeState } from '../../runtime/postgres/sqlstate.js';

/** The ledger's version in one database. */
export interface LedgerVersion {
  readonly id: string;
  readonly place: string;
  /** When it was looked at; 0 where there is no ledger. */
  readonly found: number | undefined;
  /** Now: another one only where it was migrated. */
  readonly version: number | undefined;
  readonly error: EtlError | undefined;
}

/** The connection that is named, or all that a Dag writes to. Throws `EtlError` for one that nothing defines. */
export function listNamedOrUsed(program: Program, named: string | undefined): readonly Connection[] {
  const ids = named === undefined ? listLedgerConnections(listDagConnections(program)) : [named];
  return ids.map((id) => program.lookup.find(id));
}

/** Looks at each ledger, one after the other, and makes nothing. */
export async function readVersions(
  program: Program,
  connections: readonly Connection[],
): Promise<readonly LedgerVersion[]> {
  return readEachVersion(connections, async (connection) => {
    if (isUnborn(connection, program)) return { found: 0, version: 0 };
    const version = await withClient(await openDatabase(program, connection), readVersion);
    return { found: version, version };
  });
}

/** Brings each ledger to the program's version, one after the other. */
export async function migrateAll(
  program: Program,
  connections: readonly Connection[],
): Promise<readonly LedgerVersion[]> {
  return readEachVersion(connections, async (connection) =>
    withClient(await openDatabase(program, connection), async (client) => {
      const found = await readVersion(client);
      await migrate(client, `connection "${connection.id}"`);
      return { found, version: await readVersion(client) };
    }),
  );
}

/** 2 for a ledger newer than the program or one that can't be read, 69, 1 where one must be migrated, 0. */
export function chooseVersionsExitCode(versions: readonly LedgerVersion[]): number {
  const codes = new Set(versions.map(getExitCode));
  return [EXIT.usage, EXIT.unreachable, EXIT.taskFailed].find((code) => codes.has(code)) ?? EXIT.success;
}

/** A line for each connection. */
export function formatVersions(versions: readonly LedgerVersion[], paint: Paint): string {
  const lines = versions.map((each) => ({
    state: getExitCode(each) === EXIT.success ? 'success' : 'failed',
    cells: [each.id, each.place, describeInWords(each)],
  }));
  return joinLines(formatMarkedTable(lines, paint));
}

/** What was wrong with those that could not be read or migrated. */
export function formatVersionErrors(versions: readonly LedgerVersion[], paint: Paint): string {
  const lines = versions.flatMap(({ error }) => (error ? formatErrorLines(error, paint) : []));
  return joinLines(lines);
}

/** The versions for another program. */
export function buildVersionsJson(versions: readonly LedgerVersion[]): unknown {
  return versions.map(({ id, place, found, version, error }) => ({
    connection: id,
    place,
    found_version: found,
    version,
    program_version: SCHEMA_VERSION,
    state: version === undefined ? undefined : classifyVersion(version),
    error: error && buildErrorFields(error),
  }));
}

type VersionState = 'current' | 'missing' | 'old' | 'newer';

function classifyVersion(version: number): VersionState {
  if (version === SCHEMA_VERSION) return 'current';
  if (version > SCHEMA_VERSION) return 'newer';
  return version === 0 ? 'missing' : 'old';
}

function getExitCode({ version, error }: LedgerVersion): number {
  if (error !== undefined) return error.exitCode;
  const state = version === undefined ? 'missing' : classifyVersion(version);
  if (state === 'current') return EXIT.success;
  return state === 'newer' ? EXIT.usage : EXIT.taskFailed;
}

function describeInWords({ found, version, error }: LedgerVersion): string {
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

async function readEachVersion(
  connections: readonly Connection[],
  work: (connection: Connection) => Promise<{ found: number; version: number }>,
): Promise<readonly LedgerVersion[]> {
  const versions: LedgerVersion[] = [];
  for (const connection of connections) {
    const { id } = connection;
    const base = { id, place: formatDsn(connection) };
    try {
      versions.push({ ...base, ...(await work(connection)), error: undefined });
    } catch (error) {
      versions.push({ ...base, found: undefined, version: undefined, error: toEtlError(error, id) });
    }
  }
  return versions;
}

async function withClient<T>(
  database: RunDatabase,
  work: (client: ProtocolClient) => Promise<T>,
): Promise<T> {
  try {
    return await database.with(work);
  } finally {
    await database.close();
  }
}

/** Rethrows what is a bug of ours. */
function toEtlError(error: unknown, id: string): EtlError {
  if (error instanceof EtlError) return error;
  const cause = findDatabaseError(error);
  if (cause === undefined) throw error;
  return new EtlError('ETL-4005', {
    what: `the ledger in connection "${id}" can't be read or made: ${cause.message}`,
    why: describeState(cause.code),
    fix: 'let a role that may do so run what `etl ledger sql` prints; its end lists what this role needs',
    cause: error,
  });
}
