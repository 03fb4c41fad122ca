import { EXIT, EtlError, toError } from '../../errors.js';
import { type Connection, formatDsn } from '../../hooks/connection.js';
import type { Program } from '../program/program.js';
import { type Paint, buildErrorFields, formatErrorLines, joinLines } from '../../runtime/report/words.js';
import { formatTable } from '../program/terminal.js';

/** What came of trying one connection. */
export interface Trial {
  readonly id: string;
  readonly place?: string;
  /** `PostgreSQL 16.4`. */
  readonly server?: string;
  readonly tls?: boolean;
  /** Of one query on an open connection, in milliseconds. */
  readonly latencyMs?: number;
  readonly error?: EtlError;
}

/** Opens each connection, asks the server who it is, and closes it; one after the other. Never throws. */
export async function tryConnections(program: Program, ids: readonly string[]): Promise<readonly Trial[]> {
  const trials: Trial[] = [];
  for (const id of ids) trials.push(await tryConnection(program, id));
  return trials;
}

/** 0, 69 when one can't be reached, 2 when one is badly defined. */
export function chooseTrialsExitCode(trials: readonly Trial[]): number {
  const codes = trials.map(({ error }) => error?.exitCode ?? EXIT.success);
  return (
    codes.find((code) => code === EXIT.usage) ?? codes.find((code) => code !== EXIT.success) ?? EXIT.success
  );
}

/** The trials as lines for a person, one each. */
export function formatTrials(trials: readonly Trial[], paint: Paint): string {
  return formatTable(
    trials.map(({ id, place = '-', server = '', tls, latencyMs = 0, error }) =>
      error
        ? [paint.bad('✖'), id, place, error.code]
        : [paint.good('✔'), id, place, server, tls ? 'TLS' : 'no TLS', `${latencyMs.toFixed(1)} ms`],
    ),
  );
}

/** What was wrong with those that failed, for a person. */
export function formatTrialErrors(trials: readonly Trial[], paint: Paint): string {
  const errors = trials.flatMap(({ error }) => (error ? formatErrorLines(error, paint) : []));
  return joinLines(errors);
}

/** The trials for another program. */
export function buildTrialsJson(trials: readonly Trial[]): unknown {
  return trials.map(({ latencyMs, error, ...trial }) => ({
    ...trial,
    ok: error === undefined,
    latency_ms: latencyMs,
    error: error && buildErrorFields(error),
  }));
}

async function tryConnection(program: Program, id: string): Promise<Trial> {
  let place: string | undefined;
  try {
    const connection = program.lookup.find(id);
    place = formatDsn(connection);
    return { id, place, ...(await askServer(program, connection)) };
  } catch (thrown) {
    const error = thrown instanceof EtlError ? thrown : createUnreachableError(id, toError(thrown));
    return { id, ...(place !== undefined && { place }), error };
  }
}

async function askServer(program: Program, connection: Connection): Promise<Omit<Trial, 'id'>> {
  const database = await program.open(connection, { concurrency: 1 });
  try {
    const { knex } = database;
    const { rows } = await knex.raw<{ rows: { version: string; tls: boolean | null }[] }>(
      `select current_setting('server_version') as version,
              (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as tls`,
    );
    const startedAt = performance.now();
    await knex.raw('select 1');
    return {
      server: `PostgreSQL ${rows[0]?.version ?? '?'}`,
      tls: rows[0]?.tls === true,
      latencyMs: performance.now() - startedAt,
    };
  } finally {
    await database.close();
  }
}

function createUnreachableError(id: string, cause: Error): EtlError {
  return new EtlError('ETL-1001', { what: `connection "${id}" can't be used: ${cause.message}`, cause });
}
