import { setTimeout as delay } from 'node:timers/promises';
import { encode, join, encodeQuery } from './pglite-message.js';

/** The server's side of the PostgreSQL protocol. */
export interface ProtocolBackend {
  /** Runs whole messages in one call, which blocks the event loop. Calls `onAnswer` for each piece of the answer. */
  run(messages: readonly Buffer[], onAnswer: (bytes: Buffer) => void): Promise<void>;
}

/**
 * The only session of a PGlite instance. One socket at a time uses the session. Each socket gets a clean session, like
 * a new server process: the transaction of the socket before is rolled back and its settings are discarded.
 */
export class PgliteSession implements ProtocolBackend {
  readonly #backend: ProtocolBackend;
  readonly #turnMillis: number;
  #free: Promise<void> = Promise.resolve();

  /** `turnMillis` is how long a socket waits for its turn, in milliseconds. */
  constructor(backend: ProtocolBackend, turnMillis = 10_000) {
    this.#backend = backend;
    this.#turnMillis = turnMillis;
  }

  /**
   * Waits for a turn and returns the function that ends the turn. Rejects with SQLSTATE 53300 after `turnMillis`, and
   * with the error of the reset if the session is no longer usable.
   */
  async enter(): Promise<() => void> {
    const before = this.#free;
    const turn = createTurn();
    this.#free = before.then(() => turn.over).then(() => this.#reset());
    this.#free.catch(() => undefined); // The next call of `enter` gets the error.
    try {
      await waitForTurn(before, this.#turnMillis);
      return turn.end;
    } catch (error) {
      turn.end();
      throw error;
    }
  }

  /** Resolves when every turn has ended. */
  async waitUntilIdle(): Promise<void> {
    await this.#free.catch(() => undefined); // A failed reset does not matter, because nobody uses the session again.
  }

  /** Runs messages of the socket that has its turn. */
  run(messages: readonly Buffer[], onAnswer: (bytes: Buffer) => void): Promise<void> {
    return this.#backend.run(messages, onAnswer);
  }

  /**
   * Rolls back the transaction and discards the settings. The Sync comes first because an extended query can have been
   * cut off before its own Sync: after an error in such a query, PostgreSQL skips all messages up to a Sync.
   */
  async #reset(): Promise<void> {
    const answer: Buffer[] = [];
    await this.run([SYNC, encodeQuery('rollback'), encodeQuery('discard all')], (bytes) =>
      answer.push(bytes),
    );
    if (join(answer).subarray(-READY.length).equals(READY)) return;
    throw new Error('the session of the embedded database could not be reset');
  }
}

const SYNC = encode('S');
/** The ReadyForQuery message of a session that is in no transaction. */
const READY = encode('Z', 'I');

/** The time in which one socket uses the session. */
interface Turn {
  /** Resolves when `end` is called. */
  readonly over: Promise<void>;
  readonly end: () => void;
}

function createTurn(): Turn {
  const gate = new AbortController();
  const over = new Promise<void>((resolve) => gate.signal.addEventListener('abort', () => resolve()));
  return { over, end: () => gate.abort() };
}

/** Waits for the turn before. Rejects with SQLSTATE 53300 (too_many_connections) after `millis` milliseconds. */
async function waitForTurn(before: Promise<void>, millis: number): Promise<void> {
  const timer = new AbortController();
  const late = delay(millis, undefined, { signal: timer.signal }).then(() => {
    throw Object.assign(new Error('the one session of the embedded database is in use'), { code: '53300' });
  });
  try {
    await Promise.race([before, late]);
  } finally {
    timer.abort();
  }
}
