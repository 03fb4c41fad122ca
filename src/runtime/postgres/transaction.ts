import { EtlError } from '../../errors.js';
import {
  type StatementResult,
  type PipelineStatement,
  type ProtocolClient,
  type TransactionId,
  send,
} from './protocol.js';
import { type Settings, VALUE_SETTINGS, buildSetCalls } from './value-settings.js';
import { Pipeline } from './pipeline.js';
import { SERVER_START } from './session-state.js';
import { LONGEST_MS } from '../waiting.js';

/** The maximum time that a statement waits for a lock. The error (55P03) is retried. */
export const LOCK_TIMEOUT_MS = 30_000;
/**
 * The time by which the server's timeouts are later than the timeout of the task. The runner's timeout comes first,
 * because its error names the task. The server's timeouts are for a runner that can't act any more.
 */
const SERVER_DELAY_MS = 1000;
/** The maximum time that a transaction stays open without a statement, if the task has no timeout. */
const IDLE_TIMEOUT_MS = 3_600_000;
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

/** A role with `exit_on_error = on` would end the session at the first error, also at one that a savepoint takes back. */
const ERROR_SETTINGS = { exit_on_error: 'off' } as const;

/** The first version with `transaction_timeout`. An older server refuses the name. */
const TRANSACTION_TIMEOUT_VERSION = 170_000;

/**
 * Returns `transaction_timeout: '0'` if the server knows the setting. The setting would end a whole transaction,
 * however short its statements are. A new value above 0 would not replace a limit that is already running.
 */
function listTransactionTimeout({
  serverVersion = 0,
}: Pick<ProtocolClient, 'serverVersion'>): Readonly<Record<string, string>> {
  return serverVersion < TRANSACTION_TIMEOUT_VERSION ? {} : { transaction_timeout: '0' };
}

/**
 * Returns `SET LOCAL` statements for a transaction of the runner that stays open as long as a task or a run. The server
 * ends the transaction if its client is gone, and not by a limit that a role or a database has.
 */
export function buildLongSettings(client: ProtocolClient, isWatched = true): readonly string[] {
  return buildSetLocal({
    statement_timeout: '0',
    lock_timeout: String(LOCK_TIMEOUT_MS),
    idle_in_transaction_session_timeout: '0',
    ...listTransactionTimeout(client),
    ...ERROR_SETTINGS,
    ...(isWatched ? WATCH_SETTINGS : {}),
  });
}

/**
 * Settings for the short transactions of the runner itself. The server ends such a transaction after five seconds without
 * a statement, even if the server does not notice that the process is gone.
 */
function listBriefSettings(client: ProtocolClient): Readonly<Record<string, string>> {
  return {
    statement_timeout: '60000',
    lock_timeout: String(LOCK_TIMEOUT_MS),
    idle_in_transaction_session_timeout: '5000',
    ...listTransactionTimeout(client),
    ...ERROR_SETTINGS,
    ...WATCH_SETTINGS,
  };
}

/** Returns the settings of a short transaction of the runner as `SET LOCAL` statements. */
export function buildBriefSettings(client: ProtocolClient): readonly string[] {
  return buildSetLocal(listBriefSettings(client));
}

/** `value` must not contain a quote. */
function buildSetLocal(settings: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(settings).map(([name, value]) => `set local ${name} = '${value}'`);
}

/**
 * Sends statements of the runner in a transaction of their own, in one write. Returns their answers. The statements do not
 * depend on the limits and the isolation level that the role or the database has. `settings` are further settings of the
 * transaction. `end` is the last statement: by default END, which the fault suite does not take for a COMMIT of a task or
 * of a whole run. Throws the error of the first statement that fails: then nothing was changed, and the connection is still
 * in the transaction. Throws ETL-3207 if the server has not committed.
 */
export async function sendBrief(
  client: ProtocolClient,
  statements: readonly PipelineStatement[],
  {
    settings = {},
    end = { text: 'end' },
  }: { readonly settings?: Readonly<Record<string, string>>; readonly end?: PipelineStatement } = {},
): Promise<readonly StatementResult[]> {
  const begin = [
    { text: 'begin isolation level read committed' },
    createSetStatement({ ...listBriefSettings(client), ...settings }),
  ];
  const answers = await new Pipeline([...begin, ...statements, end]).send(client);
  assertCommitted(answers);
  return answers.slice(begin.length, -1);
}

/** Creates the statement that sets settings until the end of the transaction. */
function createSetStatement(settings: Readonly<Record<string, string>>): PipelineStatement {
  return { text: `select ${buildSetConfig(Object.keys(settings))}`, values: Object.values(settings) };
}

/**
 * Builds a list of expressions that set settings until the end of the transaction, with the parameters `$1`, `$2` and so
 * on. SET LOCAL does the same, but takes no parameters.
 */
function buildSetConfig(names: readonly string[]): string {
  return names.map((name, index) => `pg_catalog.set_config('${name}', $${index + 1}, true)`).join(', ');
}

/** The settings of the transaction of an attempt. */
export interface TransactionSettings {
  readonly isolation: Isolation;
  /** The rest of the task's timeout in milliseconds. Undefined if the task has no timeout. */
  readonly budgetMs: number | undefined;
  /** The `application_name`, from `formatSessionName`. */
  readonly name: string;
  /** Settings of this task in addition to `VALUE_SETTINGS`. */
  readonly values: Settings;
  /** True: the server ends a statement whose client is gone (PostgreSQL 14 and later, over a network). */
  readonly watchClient: boolean;
}

/**
 * Creates the two statements that begin a task's transaction: BEGIN, and a SELECT that sets the timeouts, the
 * `application_name` and how values are written, local to the transaction. Without a task timeout, statements have no time limit, and the
 * transaction may idle for `IDLE_TIMEOUT_MS`.
 *
 * Pass the answer to the SELECT to `parseTransactionId`. The process ID is read from the server, because behind a
 * pooler it differs from the process ID that the driver knows.
 */
export function createBeginStatements(
  settings: TransactionSettings,
  client: Pick<ProtocolClient, 'serverVersion'>,
): readonly PipelineStatement[] {
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
    ...listTransactionTimeout(client),
    ...ERROR_SETTINGS,
    ...(settings.watchClient ? WATCH_SETTINGS : {}),
  };
  return [
    { text: `begin isolation level ${settings.isolation} not deferrable`, keep: true },
    {
      text: getSetText(Object.keys(local), settings.values),
      values: Object.values(local),
      keep: true,
      // The runner needs the transaction ID at once, to stop the transaction while the next statement runs.
      flush: true,
    },
  ];
}

/** The texts of `getSetText`, by its arguments. */
const SET_TEXTS = new WeakMap<Settings, Map<string, string>>();

/**
 * Returns the text of the SELECT of `createBeginStatements`. `values` are the settings in addition to `VALUE_SETTINGS`. The
 * same text is returned for the same settings, because building and comparing a new text takes longer.
 */
function getSetText(names: readonly string[], values: Settings): string {
  let texts = SET_TEXTS.get(values);
  if (texts === undefined) SET_TEXTS.set(values, (texts = new Map()));
  const key = names.join();
  let text = texts.get(key);
  if (text === undefined) {
    const fixed = buildSetCalls({ ...VALUE_SETTINGS, ...values });
    text = `select pg_catalog.pg_backend_pid(), pg_catalog.pg_current_xact_id()::pg_catalog.text,
        ${SERVER_START}, ${[buildSetConfig(names), ...fixed].join(', ')}`;
    texts.set(key, text);
  }
  return text;
}

/** Reads the transaction ID from the last answer to `createBeginStatements`. */
export function parseTransactionId({ rows }: StatementResult): TransactionId {
  const [pid, xid, serverStart] = rows[0] ?? [];
  return { pid: Number(pid), xid: String(xid), serverStart: String(serverStart) };
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
    `select pg_catalog.${action}(pid) from pg_catalog.pg_stat_activity
     where pid operator(pg_catalog.=) $1 and backend_xid operator(pg_catalog.=) $2::pg_catalog.xid8::pg_catalog.xid
       and ${MAY_SIGNAL}`,
    [transaction.pid, transaction.xid],
  );
  return (rowCount ?? 0) > 0;
}

/**
 * The SQL condition that the role may cancel or terminate a session of pg_stat_activity. A role that has replaced its
 * session's role (`alter role … set role`) may not even end its own sessions. Without the condition, the server would report
 * an error, which ends the transaction of the lock.
 */
export const MAY_SIGNAL = `pg_catalog.pg_has_role(usesysid, 'USAGE')`;

/** Returns true if the connection is in no transaction and no query is running. */
export function isIdle(client: ProtocolClient): boolean {
  return client.getTransactionStatus() === 'I';
}

/** The isolation level of a task's transaction. */
export type Isolation = 'read committed' | 'repeatable read' | 'serializable';
