import { Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { encode, isCopyFromStdin, join, mapMessages, MessageReader, getType } from './pglite-message.js';
import type { PgliteSession } from './pglite-session.js';

/** The most bytes that one COPY FROM STDIN can send. PGlite takes all bytes in one call, so they are held in memory. */
export const COPY_LIMIT = 256 * 1024 * 1024;

/** A COPY FROM STDIN whose data the client is sending. */
interface Copy {
  /** The messages up to the query, with the query. */
  readonly request: readonly Buffer[];
  readonly data: Buffer[];
  bytes: number;
}

/**
 * A stream that pg uses like a TCP socket to a server. The server's side is a session of a PGlite in this process.
 * `connect` waits for the session.
 */
export class PgliteSocket extends Duplex {
  readonly #session: PgliteSession;
  readonly #copyLimit: number;
  readonly #input = new MessageReader();
  /** The messages of an extended query that has had no Sync or Flush yet. All of them run in one call. */
  readonly #pending: Buffer[] = [];
  #copy: Copy | undefined;
  /** True after the message with which a client ends its session. Messages after it are ignored. */
  #isEnded = false;
  /** Makes the session free for the next socket. Undefined until this socket has the session. */
  #leave: (() => void) | undefined;
  /** Resolves when the messages of the last write have been handled. */
  #running: Promise<void> = Promise.resolve();

  constructor(session: PgliteSession, copyLimit = COPY_LIMIT) {
    super({ allowHalfOpen: false });
    this.#session = session;
    this.#copyLimit = copyLimit;
  }

  /** Emits `connect` when the session is free. Destroys the socket if the session is no longer usable. */
  connect(): this {
    this.#enter().catch((error: unknown) => this.destroy(error as Error));
    return this;
  }

  /** pg calls this method of a TCP socket. Here it does nothing. */
  setNoDelay(): this {
    return this;
  }

  override _read(): void {
    // Answers are pushed as they come, because PGlite can't be told to wait.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#input.add(chunk);
    this.#running = this.#handleMessages(done);
  }

  override _final(done: () => void): void {
    this.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    void this.#leaveWhenIdle();
    done(error);
  }

  /** Waits for the session. If the socket was destroyed in the meantime, leaves the session at once. */
  async #enter(): Promise<void> {
    const leave = await this.#session.enter();
    if (this.destroyed) return leave();
    this.#leave = leave;
    this.emit('connect');
  }

  /** Makes the session free for the next socket, after the statement that runs now. */
  async #leaveWhenIdle(): Promise<void> {
    await this.#running;
    this.#leave?.();
  }

  /** Handles all complete messages. Calls `done` with the first error. Never rejects. */
  async #handleMessages(done: (error?: Error) => void): Promise<void> {
    await this.#running; // `write` returns before a statement begins, so a socket that is destroyed now runs none.
    try {
      for (let message = this.#input.next(); message && this.#isOpen; message = this.#input.next()) {
        await this.#handleMessage(message);
      }
    } catch (error) {
      return done(error as Error);
    }
    done();
  }

  /** Whether the socket still runs messages. A closed socket ignores the messages that it already has. */
  get #isOpen(): boolean {
    return !this.destroyed && !this.#isEnded;
  }

  /**
   * Handles one message of the client:
   *
   * - Terminate ends the session.
   * - During a COPY FROM STDIN, the message is a part of the COPY.
   * - Any other message is kept in `#pending`. If the client waits for an answer after this message, all pending
   *   messages run, or, if the message is a query with COPY FROM STDIN, the client is asked for the data.
   *
   * Rejects if a client may not send the message now.
   */
  async #handleMessage(message: Buffer): Promise<void> {
    const type = getType(message);
    if (type === TERMINATE) {
      this.#isEnded = true;
      this.push(null);
      return;
    }
    if (this.#copy) return this.#continueCopy(this.#copy, message);
    if (COPY_TYPES.has(type)) return; // These are data of a COPY that has failed. The protocol says to skip them.
    if (!CLIENT_TYPES.has(type)) throw createUnexpectedMessageError(type);
    this.#pending.push(message);
    if (!ENDING_TYPES.has(type)) return;
    const request = this.#pending.splice(0);
    if (type === 'Q' && isCopyFromStdin(message)) {
      this.#copy = { request, data: [], bytes: 0 };
      this.push(COPY_IN_RESPONSE);
      return;
    }
    await this.#session.run(type === START ? request : [...request, COPY_FAIL], (bytes) =>
      this.#answer(bytes),
    );
    await nextTurn(); // Lets timers and signals run between two statements.
  }

  /**
   * Handles one message of the client during a COPY FROM STDIN. Keeps the data in memory until CopyDone or CopyFail,
   * and then runs the COPY. Above the limit, runs only the query, which then fails, and answers with an error about the
   * limit.
   */
  async #continueCopy(copy: Copy, message: Buffer): Promise<void> {
    const type = getType(message);
    if (type === 'S' || type === 'H') return; // The protocol says to skip Sync and Flush during a COPY.
    if (!COPY_TYPES.has(type)) throw createUnexpectedMessageError(type);
    copy.bytes += message.length;
    copy.data.push(message);
    const isTooLong = copy.bytes > this.#copyLimit;
    if (type === COPY_DATA && !isTooLong) return;
    this.#copy = undefined;
    if (isTooLong) await this.#runCopy(copy.request, encodeCopyTooLongError(this.#copyLimit));
    else await this.#runCopy([...copy.request, ...copy.data]);
  }

  /**
   * Runs a COPY with its data. Leaves out the CopyInResponse of the answer, because pg has already got one. With
   * `failure`, pg gets `failure` instead of the database's error.
   */
  async #runCopy(messages: readonly Buffer[], failure?: Buffer): Promise<void> {
    const answer: Buffer[] = [];
    await this.#session.run([...messages, COPY_FAIL], (bytes) => answer.push(bytes));
    this.#answer(
      mapMessages(join(answer), (message) => {
        const type = getType(message);
        if (type === 'G') return EMPTY;
        return type === 'E' && failure ? failure : message;
      }),
    );
    await nextTurn();
  }

  /** Sends a piece of an answer to the client. A closed socket drops the piece. */
  #answer(bytes: Buffer): void {
    if (this.#isOpen) this.push(bytes);
  }
}

const EMPTY = Buffer.alloc(0);
/** The answer to COPY FROM STDIN, with text format and no columns. pg reads neither value. */
const COPY_IN_RESPONSE = encode('G', Buffer.alloc(3));
/**
 * A CopyFail message, which is sent after each request. If the request has a COPY FROM STDIN that `isCopyFromStdin` did
 * not find, CopyFail ends this COPY. Without CopyFail, PGlite would wait for data and find none, which is a FATAL error
 * that PGlite does not survive. If there is no COPY, PostgreSQL skips the message.
 */
const COPY_FAIL = encode(
  'f',
  'in the embedded database, only a COPY in a simple query of its own can read from the client\0',
);
const TERMINATE = 'X';
const COPY_DATA = 'd';
/** CopyData, CopyDone and CopyFail. */
const COPY_TYPES: ReadonlySet<string> = new Set([COPY_DATA, 'c', 'f']);
/** The first message of a client. */
const START = '\0';
/** Query, Sync, Flush, FunctionCall and the first message. After these messages the client waits for an answer. */
const ENDING_TYPES: ReadonlySet<string> = new Set(['Q', 'S', 'H', 'F', START]);
/** The messages of `ENDING_TYPES`, and the parts of an extended query: Parse, Bind, Describe, Execute and Close. */
const CLIENT_TYPES: ReadonlySet<string> = new Set([...ENDING_TYPES, 'P', 'B', 'D', 'E', 'C']);

function createUnexpectedMessageError(type: string): Error {
  return new Error(`a message of type "${type}" is not allowed here`);
}

/** Encodes the error of a COPY over the limit, with SQLSTATE 54000 (program_limit_exceeded). */
function encodeCopyTooLongError(limit: number): Buffer {
  const text = `a COPY to the embedded database is limited to ${limit} bytes`;
  const hint = 'Load the data in parts, or use a PostgreSQL server.';
  return encode('E', `SERROR\0VERROR\0C54000\0M${text}\0H${hint}\0\0`);
}
