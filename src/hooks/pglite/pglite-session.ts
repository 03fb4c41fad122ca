import { setTimeout as delay } from 'node:timers/promises';
import { encode, join, encodeQuery } from './pglite-message.js';

/** The other end of the wire protocol. */
export interface ProtocolBackend {
  /** Runs whole messages in one call, which blocks the event loop, and passes the answer on piece by piece. */
  run(messages: readonly Buffer[], onAnswer: (bytes: Buffer) => void): Promise<void>;
}

/**
 * The one session of a PGlite instance, lent to one socket at a time. Each finds it as a new server process would
 * be: what the one before left open has been rolled back, and its settings are gone.
 */
export class PgliteSession implements ProtocolBackend {
  readonly #backend: ProtocolBackend;
  readonly #turnMillis: number;
  #free: Promise<void> = Promise.resolve();

  /** `turnMillis` is how long a socket waits for the one before it to leave. */
  constructor(backend: ProtocolBackend, turnMillis = 10_000) {
    this.#backend = backend;
    this.#turnMillis = turnMillis;
  }

  /** Waits for a turn and gives the call that ends it. Rejects with SQLSTATE 53300 when another keeps its turn. */
  async enter(): Promise<() => void> {
    const before = this.#free;
    const turn = createTurn();
    this.#free = before.then(() => turn.over).then(() => this.#reset());
    this.#free.catch(() => undefined); // Whoever comes next is told.
    try {
      await waitForTurn(before, this.#turnMillis);
      return turn.end;
    } catch (error) {
      turn.end();
      throw error;
    }
  }

  /** Resolves when every socket has left. */
  async waitUntilIdle(): Promise<void> {
    await this.#free.catch(() => undefined); // Not clean, and not to be used again.
  }

  run(messages: readonly Buffer[], onAnswer: (bytes: Buffer) => void): Promise<void> {
    return this.#backend.run(messages, onAnswer);
  }

  /** The Sync ends an extended query that was cut off before its own, and the skipping after an error in one. */
  async #reset(): Promise<void> {
    const answer: Buffer[] = [];
    await this.run([SYNC, encodeQuery('rollback'), encodeQuery('discard all')], (bytes) =>
      answer.push(bytes),
    );
    if (join(answer).subarray(-READY.length).equals(READY)) return;
    throw new Error('the embedded database did not get back to a clean session');
  }
}

const SYNC = encode('S');
/** ReadyForQuery, in no transaction. */
const READY = encode('Z', 'I');

interface Turn {
  readonly over: Promise<void>;
  readonly end: () => void;
}

function createTurn(): Turn {
  const gate = new AbortController();
  const over = new Promise<void>((resolve) => gate.signal.addEventListener('abort', () => resolve()));
  return { over, end: () => gate.abort() };
}

/** Rejects with SQLSTATE 53300 (too_many_connections), unless `work` is done in time. */
async function waitForTurn(work: Promise<void>, millis: number): Promise<void> {
  const timer = new AbortController();
  const late = delay(millis, undefined, { signal: timer.signal }).then(() => {
    throw Object.assign(new Error('the one session of the embedded database is in use'), { code: '53300' });
  });
  try {
    await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}
