import { EtlError } from '../../errors.js';
import {
  type StatementResult,
  type PipelineStatement,
  type ProtocolClient,
  type TransactionId,
  send,
} from './protocol.js';
import { LONGEST_MS } from '../waiting.js';

/** A statement's own wait for a lock; failing it (55P03) is retried. */
const LOCK_TIMEOUT_MS = 30_000;
/**
 * By how much the server's timeouts come after the task's own: that one says what has timed out, they are for a runner
 * that can't act any more.
 */
const SERVER_LATER_MS = 1000;
/** For a session that sits in its transaction without a statement, where the task has no timeout of its own. */
const IDLE_TIMEOUT_MS = 3_600_000;
/** `application_name` is cut at 63 bytes by the server, with a notice for each. */
const NAME_LIMIT = 63;

/**
 * So that the server ends a statement, and a transaction, whose client has gone: within a second when its process was
 * killed, within about ten when the network is. They are set after connecting, because poolers refuse what they do not
 * know at the start (https://github.com/pgbouncer/pgbouncer/issues/525).
 */
const WATCH: Readonly<Record<string, string>> = {
  client_connection_check_interval: '1000',
  tcp_keepalives_idle: '5',
  tcp_keepalives_interval: '2',
  tcp_keepalives_count: '3',
  tcp_user_timeout: '8000',
};

/** The same as statements. */
export const WATCH_CLIENT: readonly string[] = Object.entries(WATCH).map(
  ([name, value]) => `set local ${name} = ${value}`,
);

/** `etl:<dag>/<task>`, which `pg_stat_activity` shows, as far as the server keeps it. */
export function formatApplicationName(dagId: string, taskId: string): string {
  return `etl:${dagId}/${taskId}`.slice(0, NAME_LIMIT);
}

/**
 * For the short transactions of the runner itself: one whose client has gone is over in a moment, even where only the
 * server knows that it is open.
 */
export const BRIEF: readonly string[] = [
  ...WATCH_CLIENT,
  'set local idle_in_transaction_session_timeout = 5000',
];

export interface TransactionSettings {
  readonly isolation: Isolation;
  /** What is left of the attempt's time; undefined: no limit. */
  readonly budgetMs: number | undefined;
  /** From `applicationName`. */
  readonly name: string;
  /** Whether the server ends a statement whose client has gone (PostgreSQL 14 and later, over a network). */
  readonly watchClient: boolean;
}

/**
 * Begins a transaction with its settings, all of them local to it. The last answer is one row with the transaction's ID:
 * that of its backend, which behind a pooler is not the one that the driver knows, and its own.
 */
export function createBeginStatements(settings: TransactionSettings): readonly PipelineStatement[] {
  const budget =
    settings.budgetMs === undefined
      ? undefined
      : Math.min(Math.max(1, Math.ceil(settings.budgetMs)) + SERVER_LATER_MS, LONGEST_MS);
  const local: Readonly<Record<string, string>> = {
    statement_timeout: String(budget ?? 0),
    lock_timeout: String(Math.min(budget ?? LOCK_TIMEOUT_MS, LOCK_TIMEOUT_MS)),
    idle_in_transaction_session_timeout: String(budget ?? IDLE_TIMEOUT_MS),
    application_name: settings.name,
    ...(settings.watchClient ? WATCH : {}),
  };
  const set = Object.keys(local).map((name, index) => `set_config('${name}', $${index + 1}, true)`);
  return [
    { text: `begin isolation level ${settings.isolation}` },
    {
      text: `select pg_backend_pid(), pg_current_xact_id()::text, ${set.join(', ')}`,
      values: Object.values(local),
      keep: true,
      // The transaction can be stopped while what comes next is under way.
      flush: true,
    },
  ];
}

/** The ID in the answer to `beginLegs`. */
export function parseTransactionId({ rows }: StatementResult): TransactionId {
  const [pid, xid] = rows[0] ?? [];
  return { pid: Number(pid), xid: String(xid) };
}

/**
 * Commits: in the same flight as the close of its row, so that the server does not come to it when that fails.
 * PostgreSQL answers the COMMIT of an aborted transaction with the tag ROLLBACK and no error; `assertCommitted` throws
 * for that.
 */
export const COMMIT: PipelineStatement = { text: 'commit' };

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
 * Cancels or terminates exactly one transaction from another connection: never by the process ID alone, because
 * those are used again, and behind a pooler they belong to somebody else. Says whether the server still had it.
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

/** True when the connection is in no transaction and nothing is under way on it. */
export function isIdle(client: ProtocolClient): boolean {
  return client.getTransactionStatus() === 'I';
}

export type Isolation = 'read committed' | 'repeatable read' | 'serializable';
