import type {
  StatementResult,
  PipelineStatement,
  ProtocolClient,
  ProtocolConnection,
  ServerMessage,
  TransactionId,
} from './protocol.js';

/** No statement of a task's own has such a name by chance. */
const PREFIX = 'etl runner ';
let count = 0;

/** The runner's own statements that a session has parsed, and plans once: parsing is most of what they cost. */
export class PreparedStatements {
  readonly #names = new Map<string, string>();
  /** A task may deallocate all that there is. */
  readonly onComplete: (message: ServerMessage) => void;

  constructor(connection: ProtocolConnection) {
    this.onComplete = ({ text }) => {
      if (text?.startsWith('DEALLOCATE')) forgetPreparedStatements(connection);
    };
  }

  get size(): number {
    return this.#names.size;
  }

  /** The name of a statement; `isNew`: it must be parsed under that name first. */
  getName(text: string): { readonly name: string; readonly isNew: boolean } {
    const known = this.#names.get(text);
    if (known !== undefined) return { name: known, isNew: false };
    // Never one that the session may have from before it was forgotten.
    const name = `${PREFIX}${++count}`;
    this.#names.set(text, name);
    return { name, isNew: true };
  }
}

const KEPT = new WeakMap<ProtocolConnection, PreparedStatements>();

/** Undefined where the connection keeps none. */
export function findPreparedStatements(connection: ProtocolConnection): PreparedStatements | undefined {
  return KEPT.get(connection);
}

/**
 * Lets the connection keep statements from now on, where the transaction is in the very session that was opened: behind a
 * pooler the next one may be in another, which has not parsed them.
 */
export function enablePreparedStatements(
  { processID, connection }: ProtocolClient,
  { pid }: TransactionId,
): void {
  if (processID !== pid || KEPT.has(connection)) return;
  const kept = new PreparedStatements(connection);
  KEPT.set(connection, kept);
  connection.on('commandComplete', kept.onComplete);
}

/** Whatever the session has parsed, from now on nothing of it is used. */
export function forgetPreparedStatements(connection: ProtocolConnection): void {
  const kept = KEPT.get(connection);
  if (kept !== undefined) connection.removeListener('commandComplete', kept.onComplete);
  KEPT.delete(connection);
}

/**
 * Makes the session as it was when it was opened, so that no setting, lock, cursor or temporary table of a task reaches
 * the next: DISCARD ALL, or where statements are kept all that it stands for but DISCARD PLANS and DEALLOCATE ALL. The
 * answer to the last of them says whether it is clean.
 * https://www.postgresql.org/docs/current/sql-discard.html
 */
export function createCleanStatements(connection: ProtocolConnection): readonly PipelineStatement[] {
  const kept = KEPT.get(connection);
  if (kept === undefined) {
    // The driver must not believe that what a task has prepared is still there.
    connection.parsedStatements = {};
    return DISCARD_ALL;
  }
  // The check is one of those that it counts.
  return [...DISCARD_SESSION, { text: CHECK, keep: true, values: () => [String(kept.size)] }];
}

/** True when the answers to `cleanLegs` say that the session is clean: there are the kept statements, and no others. */
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

const CHECK = `select count(*) = $1 and bool_and(starts_with(name, '${PREFIX}') and not from_sql), pg_advisory_unlock_all()
  from pg_prepared_statements`;
