import type {
  StatementResult,
  PipelineStatement,
  ProtocolClient,
  ProtocolConnection,
  ServerMessage,
  TransactionId,
} from './protocol.js';

/** The prefix of the names of the runner's prepared statements. The space makes an equal name in a task unlikely. */
const PREFIX = 'etl runner ';
/** The number of names that were given in this process. */
let count = 0;

/**
 * The statements of the runner itself that a session has prepared. Preparing saves most of their cost, because
 * parsing and planning are done once.
 */
export class PreparedStatements {
  readonly #names = new Map<string, string>();
  /** A listener for CommandComplete: a DEALLOCATE of a task can remove the prepared statements. */
  readonly onComplete: (message: ServerMessage) => void;

  constructor(connection: ProtocolConnection) {
    this.onComplete = ({ text }) => {
      if (text?.startsWith('DEALLOCATE')) forgetPreparedStatements(connection);
    };
  }

  /** The number of prepared statements. */
  get size(): number {
    return this.#names.size;
  }

  /** Returns true if the session has a prepared statement with this text. */
  has(text: string): boolean {
    return this.#names.has(text);
  }

  /**
   * Returns the name of the prepared statement with this text. If `isNew` is true, the session does not have the
   * statement yet, and the caller must send a Parse with this name.
   */
  getName(text: string): { readonly name: string; readonly isNew: boolean } {
    const known = this.#names.get(text);
    if (known !== undefined) return { name: known, isNew: false };
    // Names are never used twice: the session can still have a statement that was forgotten here.
    const name = `${PREFIX}${++count}`;
    this.#names.set(text, name);
    return { name, isNew: true };
  }
}

/** The prepared statements of each connection that may prepare. */
const BY_CONNECTION = new WeakMap<ProtocolConnection, PreparedStatements>();

/** Returns the prepared statements of a connection. Undefined if the connection does not prepare statements. */
export function findPreparedStatements(connection: ProtocolConnection): PreparedStatements | undefined {
  return BY_CONNECTION.get(connection);
}

/**
 * Lets a connection prepare statements from now on. Does nothing behind a pooler: there the next transaction can run in
 * another session, which does not have the prepared statements. A pooler is recognized by two process IDs that differ:
 * the ID of the backend of the transaction, and the ID that the driver was told when it connected.
 */
export function enablePreparedStatements(
  { processID, connection }: ProtocolClient,
  { pid }: TransactionId,
): void {
  if (processID !== pid || BY_CONNECTION.has(connection)) return;
  const prepared = new PreparedStatements(connection);
  BY_CONNECTION.set(connection, prepared);
  connection.on('commandComplete', prepared.onComplete);
}

/**
 * Forgets the prepared statements of a connection. They are not used any more, even if the session still has them.
 */
export function forgetPreparedStatements(connection: ProtocolConnection): void {
  const prepared = BY_CONNECTION.get(connection);
  if (prepared !== undefined) connection.removeListener('commandComplete', prepared.onComplete);
  BY_CONNECTION.delete(connection);
}

/**
 * Creates the statements that reset a session to its state after connecting. No setting, lock, cursor or temporary
 * table of a task reaches the next task. `isClean` reads from the answers whether the session is clean.
 *
 * - On a connection without prepared statements: DISCARD ALL.
 * - On a connection with prepared statements: the parts of DISCARD ALL, without DISCARD PLANS and DEALLOCATE ALL, which
 *   would remove the prepared statements and their plans. The last statement releases session locks and checks that the
 *   session has the runner's prepared statements and no others.
 *
 * https://www.postgresql.org/docs/current/sql-discard.html
 */
export function createCleanStatements(connection: ProtocolConnection): readonly PipelineStatement[] {
  const prepared = BY_CONNECTION.get(connection);
  if (prepared === undefined) {
    // DISCARD ALL also removes the statements that the driver has prepared for a task, so the driver must forget
    // them.
    connection.parsedStatements = {};
    return DISCARD_ALL;
  }
  // The check compares the number of prepared statements on the server with `prepared.size`. The check is a prepared
  // statement itself, and is counted. `values` is a function, so `size` is read after the check was added.
  return [...DISCARD_SESSION, { text: CHECK_AND_UNLOCK, keep: true, values: () => [String(prepared.size)] }];
}

/**
 * Returns true if the answers to `createCleanStatements` say that the session is clean: either DISCARD ALL has removed
 * everything, or the check has found the prepared statements of the runner and no others.
 */
export function isClean(answers: readonly StatementResult[]): boolean {
  const last = answers.at(-1);
  return last?.tag === 'DISCARD ALL' || last?.rows[0]?.[0] === 't';
}

const DISCARD_ALL: readonly PipelineStatement[] = [{ text: 'discard all' }];

const DISCARD_SESSION: readonly PipelineStatement[] = [
  'close all',
  'set session authorization default',
  'reset all',
  'unlisten *',
  'discard temp',
  'discard sequences',
].map((text) => ({ text, keep: true }));

/**
 * Checks that the number of the session's prepared statements is `$1`, and that the runner has prepared each of them.
 * Also releases all advisory locks of the session.
 *
 * `from_sql` is true for a statement that was made with PREPARE, which only a task sends.
 */
const CHECK_AND_UNLOCK = `select pg_catalog.count(*) operator(pg_catalog.=) $1
    and pg_catalog.bool_and(pg_catalog.starts_with(name, '${PREFIX}') and not from_sql),
  pg_catalog.pg_advisory_unlock_all() from pg_catalog.pg_prepared_statements`;
