import { EtlError } from '../../errors.js';
import {
  type StatementResult,
  type PipelineStatement,
  type ProtocolClient,
  type TransactionId,
  send,
} from './protocol.js';
import { type Settings, VALUE_SETTINGS, buildSetCalls } from './value-settings.js';
import { LONGEST_MS } from '../waiting.js';

/** The maximum time that a statement waits for a lock. The error (55P03) is retried. */
const LOCK_TIMEOUT_MS = 30_000;
/**
 * The time by which the server's timeouts are later than the timeout of the task. The runner's timeout comes first,
 * because its error names the task. The server's timeouts are for a runner that can't act any more.
 */
const SERVER_DELAY_MS = 1000;
/** The maximum time that a transaction stays open without a statement, if the task has no timeout. */
const IDLE_TIMEOUT_MS = 3_600_000;
/** The server cuts `application_name` at 63 bytes and sends a notice each time. */
const NAME_LIMIT = 63;

/**
 * Settings that make the server end the statement and the transaction of a client that is gone: within a second if
 * the process was killed, within about ten seconds if the network failed. They are set after connecting, because
 * poolers refuse unknown settings at the start (https://github.com/pgbouncer/pgbouncer/issues/525).
 */
const WATCH_SETTINGS: Readonly<Record<string, string>> = {
  client_connection_check_interval: '1000',
  tcp_keepalives_idle: '5',
  tcp_keepalives_interval: '2',
  tcp_keepalives_count: '3',
  tcp_user_timeout: '8000',
};

/** The same settings as `SET LOCAL` statements. */
export const WATCH_CLIENT: readonly string[] = Object.entries(WATCH_SETTINGS).map(
  ([name, value]) => `set local ${name} = ${value}`,
);

/**
 * Returns the `application_name` of a task: `etl:<dag>/<task>`, cut to the length that the server keeps.
 * `pg_stat_activity` shows this name.
 */
export function formatApplicationName(dagId: string, taskId: string): string {
  return `etl:${dagId}/${taskId}`.slice(0, NAME_LIMIT);
}

/**
 * Settings for the short transactions of the runner itself, as `SET LOCAL` statements. The server ends such a
 * transaction after five seconds without a statement, even if the server does not notice that the process is gone.
 */
export const BRIEF: readonly string[] = [
  ...WATCH_CLIENT,
  'set local idle_in_transaction_session_timeout = 5000',
];

/** The settings of the transaction of an attempt. */
export interface TransactionSettings {
  readonly isolation: Isolation;
  /** The rest of the task's timeout in milliseconds. Undefined if the task has no timeout. */
  readonly budgetMs: number | undefined;
  /** The `application_name`, from `formatApplicationName`. */
  readonly name: string;
  /** Settings of this task in addition to `VALUE_SETTINGS`. */
  readonly values: Settings;
  /** True: the server ends a statement whose client is gone (PostgreSQL 14 and later, over a network). */
  readonly watchClient: boolean;
}

/**
 * Creates the two statements that begin a transaction: BEGIN, and a SELECT that sets the timeouts, the
 * `application_name` and how values are written, local to the transaction. Without a task timeout, statements have no time limit, and the
 * transaction may idle for `IDLE_TIMEOUT_MS`.
 *
 * Pass the answer to the SELECT to `parseTransactionId`. The process ID is read from the server, because behind a
 * pooler it differs from the process ID that the driver knows.
 */
export function createBeginStatements(settings: TransactionSettings): readonly PipelineStatement[] {
  const budget =
    settings.budgetMs === undefined
      ? undefined
      : Math.min(Math.max(1, Math.ceil(settings.budgetMs)) + SERVER_DELAY_MS, LONGEST_MS);
  // `0` means no limit.
  const local: Readonly<Record<string, string>> = {
    statement_timeout: String(budget ?? 0),
    lock_timeout: String(Math.min(budget ?? LOCK_TIMEOUT_MS, LOCK_TIMEOUT_MS)),
    idle_in_transaction_session_timeout: String(budget ?? IDLE_TIMEOUT_MS),
    application_name: settings.name,
    ...(settings.watchClient ? WATCH_SETTINGS : {}),
  };
  // A setting can't be a parameter of SET LOCAL. `set_config(…, true)` does the same and takes parameters.
  const set = Object.keys(local).map((name, index) => `set_config('${name}', $${index + 1}, true)`);
  const fixed = buildSetCalls({ ...VALUE_SETTINGS, ...settings.values });
  return [
    { text: `begin isolation level ${settings.isolation}` },
    {
      text: `select pg_backend_pid(), pg_current_xact_id()::text, ${[...set, ...fixed].join(', ')}`,
      values: Object.values(local),
      keep: true,
      // The runner needs the transaction ID at once, to stop the transaction while the next statement runs.
      flush: true,
    },
  ];
}

/** Reads the transaction ID from the last answer to `createBeginStatements`. */
export function parseTransactionId({ rows }: StatementResult): TransactionId {
  const [pid, xid] = rows[0] ?? [];
  return { pid: Number(pid), xid: String(xid) };
}

/**
 * The COMMIT. It is sent in the same pipeline as the statement before it, so that the server skips the COMMIT if that
 * statement fails. Check the answers with `assertCommitted`.
 */
export const COMMIT: PipelineStatement = { text: 'commit' };

/**
 * Throws ETL-3207 if the last answer does not have the tag COMMIT. PostgreSQL answers the COMMIT of an aborted
 * transaction with the tag ROLLBACK and no error.
 */
export function assertCommitted(answers: readonly StatementResult[]): void {
  const tag = answers.at(-1)?.tag;
  if (tag === 'COMMIT') return;
  throw new EtlError('ETL-3207', {
    what: `the server answered COMMIT with ${tag}`,
    why: 'the transaction had been aborted',
    data: 'the task was rolled back',
  });
}

/**
 * Cancels or terminates exactly one transaction, from another connection. The process ID alone is not enough: process
 * IDs are used again, and behind a pooler a backend serves several clients. Returns true if the server still had the
 * transaction.
 */
export async function stopTransaction(
  control: ProtocolClient,
  action: 'pg_cancel_backend' | 'pg_terminate_backend',
  transaction: TransactionId,
): Promise<boolean> {
  const { rowCount } = await send(
    control,
    `select ${action}(pid) from pg_stat_activity where pid = $1 and backend_xid = $2::xid8::xid`,
    [transaction.pid, transaction.xid],
  );
  return (rowCount ?? 0) > 0;
}

/** Returns true if the connection is in no transaction and no query is running. */
export function isIdle(client: ProtocolClient): boolean {
  return client.getTransactionStatus() === 'I';
}

/** The isolation level of a task's transaction. */
export type Isolation = 'read committed' | 'repeatable read' | 'serializable';
