import type { PGlite } from '@electric-sql/pglite';
import { encode, encodeQuery, join } from './pglite-message.js';

/**
 * The only session of a PGlite in this process. One socket at a time uses the session. Each socket gets a clean
 * session, like a new server process: the transaction of the previous socket is rolled back and its settings are
 * discarded.
 *
 * PGlite 0.5 catches every PostgreSQL error and continues with the next message. After a FATAL error there is no next
 * message, and PGlite loops for ever. Every error consumes one message, so more errors than messages mean such a loop:
 * `run` then rejects. PGlite calls `stackRestore` once for each error, so the constructor replaces this function by one
 * that counts.
 */
export class PgliteSession {
  readonly #pglite: PGlite;
  /** The number of errors that the remaining messages of the current `run` can cause. */
  #errorsLeft = 0;
  /** Resolves when the last socket in the queue has left and the session is clean again. */
  #whenFree: Promise<void> = Promise.resolve();

  constructor(pglite: PGlite) {
    this.#pglite = pglite;
    const module = pglite.Module;
    const restore = module.stackRestore;
    module.stackRestore = (stack) => {
      this.#errorsLeft -= 1;
      if (this.#errorsLeft < 0) throw new Error('the session of the embedded database has ended');
      return restore(stack);
    };
  }

  /**
   * Waits until the previous socket has left, and returns the function by which this socket leaves. The sockets enter
   * in the order of their calls. Rejects with the error of the reset if the session is no longer usable.
   */
  async enter(): Promise<() => void> {
    // `#whenFree` changes before the first `await`, so a second call waits for this socket and not for the previous
    // one.
    const before = this.#whenFree;
    let leave = (): void => {};
    const left = new Promise<void>((resolve) => (leave = resolve));
    this.#whenFree = before.then(() => left).then(() => this.#reset());
    this.#whenFree.catch(() => undefined); // The next call of `enter` gets the error.
    await before;
    return leave;
  }

  /**
   * Runs whole messages in one call, which blocks the event loop. Calls `onAnswer` for each piece of the answer.
   * Rejects if the session has ended with a FATAL error.
   */
  async run(messages: readonly Buffer[], onAnswer: (bytes: Buffer) => void): Promise<void> {
    this.#errorsLeft = messages.length;
    // Each answer is copied, because PGlite uses the same memory for the next answer.
    const onRawData = (bytes: Uint8Array): void => onAnswer(Buffer.from(bytes));
    await this.#pglite.execProtocolRawStream(join(messages), { onRawData });
  }

  /** Waits until every socket has left. Then shuts PostgreSQL down, which writes its data. */
  async close(): Promise<void> {
    await this.#whenFree.catch(() => undefined); // A failed reset does not matter, because nobody uses the session again.
    await this.#pglite.close();
  }

  /**
   * Rolls back the transaction and discards the settings. The Sync comes first because an extended query can have been
   * cut off before its own Sync: after an error in such a query, PostgreSQL skips all messages up to a Sync.
   */
  async #reset(): Promise<void> {
    const answer: Buffer[] = [];
    await this.run([encode('S'), encodeQuery('rollback'), encodeQuery('discard all')], (bytes) =>
      answer.push(bytes),
    );
    if (join(answer).subarray(-READY.length).equals(READY)) return;
    throw new Error('the session of the embedded database could not be reset');
  }
}

/** The ReadyForQuery message of a session that is in no transaction. */
const READY = encode('Z', 'I');
