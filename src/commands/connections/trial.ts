import { EXIT, EtlError, toError } from '../../errors.js';
import { type Connection, formatDsn } from '../../hooks/connection.js';
import type { Program } from '../program/program.js';
import { type Paint, buildErrorFields } from '../../runtime/report/words.js';
import { formatTable } from '../program/terminal.js';
import type { Database } from '../../hooks/hook.js';
import { ANSWER_MS, untilAnswered } from '../../runtime/waiting.js';
import { createSilentError } from '../../runtime/database/silent-database.js';
import { RunDatabase } from '../../runtime/database/run-database.js';
import { findLedgerFault } from '../../runtime/ledger/schema.js';

/** The result of opening one connection. Either `error` or the properties of the server are set. */
export interface Trial {
  readonly id: string;
  /** The location of the connection, with a masked password. Undefined if the definition can't be read. */
  readonly dsn?: string;
  /** The name and version of the server, such as `PostgreSQL 16.4`. */
  readonly server?: string;
  readonly tls?: boolean;
  /** The duration of one query on the open connection, in milliseconds. */
  readonly latencyMs?: number;
  /** The lead of the server's clock over the clock of this machine, in milliseconds. Exact to half of `latencyMs`. */
  readonly aheadMs?: number;
  /** The time zone of the session. */
  readonly timezone?: string;
  readonly error?: EtlError;
}

/**
 * Opens the connections one after the other, reads the version of each server, and closes them. Also looks at the ledger
 * of the connections in `ledgers`. Never throws.
 */
export async function tryConnections(
  program: Program,
  ids: readonly string[],
  ledgers: ReadonlySet<string> = new Set(),
): Promise<readonly Trial[]> {
  const trials: Trial[] = [];
  for (const id of ids) trials.push(await tryConnection(program, id, ledgers.has(id)));
  return trials;
}

/** Returns exit code 2 if a connection is wrongly defined, else 69 if a server can't be reached, else 0. */
export function chooseTrialsExitCode(trials: readonly Trial[]): number {
  const codes = trials.map(({ error }) => error?.exitCode ?? EXIT.success);
  return (
    codes.find((code) => code === EXIT.usage) ?? codes.find((code) => code !== EXIT.success) ?? EXIT.success
  );
}

/** Formats the trials for a person: one line a connection. */
export function formatTrials(trials: readonly Trial[], paint: Paint): string {
  return formatTable(
    trials.map(({ id, dsn = '-', server = '', tls, latencyMs = 0, error }) =>
      error
        ? [paint.bad('✖'), id, dsn, error.code]
        : [paint.good('✔'), id, dsn, server, tls ? 'TLS' : 'no TLS', `${latencyMs.toFixed(1)} ms`],
    ),
  );
}

/** Returns the JSON of the trials for another program. */
export function buildTrialsJson(trials: readonly Trial[]): unknown {
  return trials.map(({ id, dsn, server, tls, latencyMs, error }) => ({
    id,
    place: dsn,
    server,
    tls,
    ok: error === undefined,
    latency_ms: latencyMs,
    error: error && buildErrorFields(error),
  }));
}

/**
 * Opens one connection. Returns the properties of its server, or the error. Never throws. The location is missing if
 * the definition of the connection can't be read.
 */
async function tryConnection(program: Program, id: string, hasLedger: boolean): Promise<Trial> {
  let dsn: string | undefined;
  try {
    const connection = await program.lookup.load(id);
    dsn = formatDsn(connection);
    return { id, dsn, ...(await askServer(program, connection, hasLedger)) };
  } catch (thrown) {
    const cause = toError(thrown);
    const what = `connection "${id}" can't be used: ${cause.message}`;
    const error = thrown instanceof EtlError ? thrown : new EtlError('ETL-1001', { what, cause });
    return { id, ...(dsn !== undefined && { dsn }), error };
  }
}

/**
 * Opens a connection, asks the server for its version and its TLS, and measures one more query. With `hasLedger`, also
 * looks at the ledger. Throws if the database can't be reached, a query fails, or a run could not use the ledger. Closes
 * the database in every case.
 */
async function askServer(
  program: Program,
  connection: Connection,
  hasLedger: boolean,
): Promise<Omit<Trial, 'id'>> {
  const database = await program.open(connection, { concurrency: 1 });
  try {
    return await untilAnswered(ask(program, { connection, database }, hasLedger), ANSWER_MS, () =>
      createSilentError(connection.id, ANSWER_MS, undefined, 'nothing was changed'),
    );
  } finally {
    await database.close();
  }
}

/** Asks an open database, as `askServer` says. */
async function ask(
  program: Program,
  { connection, database }: { readonly connection: Connection; readonly database: Database },
  hasLedger: boolean,
): Promise<Omit<Trial, 'id'>> {
  const { knex } = database;
  const { rows } = await knex.raw<{ rows: { version: string; timezone: string; tls: boolean | null }[] }>(
    `select pg_catalog.current_setting('server_version') as version,
              pg_catalog.current_setting('TimeZone') as timezone,
              (select ssl from pg_catalog.pg_stat_ssl
               where pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()) as tls`,
  );
  // Measures a second query, because the first query also opens the connection.
  const [startedAt, sentAt] = [performance.now(), Date.now()];
  const clock = await knex.raw<{ rows: { now: string }[] }>(
    `select pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::pg_catalog.text as now`,
  );
  const latencyMs = performance.now() - startedAt;
  if (hasLedger) {
    const fault = await new RunDatabase(database, program.ledgerSchema, connection.id).with((ledger) =>
      findLedgerFault(ledger, `connection "${connection.id}"`),
    );
    if (fault !== undefined) throw fault;
  }
  return {
    server: `PostgreSQL ${rows[0]?.version ?? '?'}`,
    tls: rows[0]?.tls === true,
    latencyMs,
    // The server has read its clock about half-way between the question and the answer.
    aheadMs: Number(clock.rows[0]?.now) * 1000 - (sentAt + latencyMs / 2),
    timezone: rows[0]?.timezone ?? '?',
  };
}
