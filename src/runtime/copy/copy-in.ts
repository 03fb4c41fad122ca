import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import type { Connection } from 'pg';
import { EtlError, toError } from '../../errors.js';
import { giveBack } from '../../hooks/chunks.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import { cutText } from '../secrets/secrets.js';
import { COPY_END_MS, within } from '../waiting.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { Exchange, createCopyFail } from './exchange.js';

/** The options of a COPY in either direction. */
export interface CopyOptions {
  /** Ends the COPY when it aborts. The server then stores none of the rows. */
  readonly signal: AbortSignal;
  /** Is called for each part that was sent or received, with its number of bytes. */
  readonly moved?: (bytes: number) => void;
}

/** The options of a COPY to the server. */
export interface CopyInOptions extends CopyOptions {
  /** True if nobody else reads the chunks: each chunk is given back to `hooks/chunks.ts` when it is sent. */
  readonly isOwner?: boolean;
}

/** The maximum size of one CopyData message. A stop takes effect between two messages. */
const MESSAGE_BYTES = 1024 * 1024;
/** After this many bytes, or `TURN_PARTS` parts, the event loop handles answers of the server, timers and signals. */
const TURN_BYTES = 256 * 1024;
const TURN_PARTS = 64;
/** The CopyDone message. */
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]);

/** A `COPY … FROM STDIN` on a connection. `send` sends rows as fast as the socket accepts them. */
export class CopyIn extends Exchange {
  #stream: Connection['stream'] | undefined;
  /** True from the answer of the server that it accepts rows, until `finish` or `fail`. */
  #isOpen = false;
  /** True after `fail`. An answer that arrives later does not open the COPY. */
  #hasFailed = false;
  /** True from the first part of the data until all parts are sent. */
  isHeld = false;
  #bytesInTurn = 0;
  #partsInTurn = 0;
  /** Ends the current wait of `waitWhileOpen`. */
  #wake: (() => void) | undefined;
  readonly #isOwner: boolean;

  constructor(text: string, isOwner = false) {
    super(text);
    this.#isOwner = isOwner;
  }

  override submit(connection: Connection): void {
    this.#stream = connection.stream;
    connection.query(this.text);
  }

  /** Called when the server asks for rows. If `fail` was called before, the COPY is failed now. */
  override handleCopyInResponse(connection: Connection): void {
    if (this.#hasFailed) return super.handleCopyInResponse(connection);
    this.#isOpen = true;
    this.#wake?.();
  }

  /**
   * Waits for the first answer of the server. Returns true if the server asks for rows, false if the statement ended
   * without asking for rows.
   */
  async waitUntilOpen(): Promise<boolean> {
    // The promise never resolves: only `#wake` ends the wait.
    if (!this.#isOpen && !this.isOver) await this.waitWhileOpen(new Promise<never>(() => undefined));
    return this.isWanted;
  }

  /**
   * Sends rows in messages of at most 1 MiB, and waits until the socket accepts more. Sends nothing more if the COPY
   * has ended. The last part carries the chunk back to `hooks/chunks.ts` after it is sent, if the COPY owns its chunks.
   */
  async send(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; at += MESSAGE_BYTES) {
      if (!this.isWanted) return;
      const part = chunk.subarray(at, at + MESSAGE_BYTES);
      const isLast = at + MESSAGE_BYTES >= chunk.length;
      if (!this.#write(part, isLast && this.#isOwner)) await this.#waitForDrain();
      await this.#takeTurns(part.length);
    }
  }

  /**
   * Waits for `work`, and returns its result. Returns undefined if the COPY ends first. Only one wait can be active at
   * a time.
   */
  async waitWhileOpen<T>(work: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      work.then(resolve, reject);
    });
  }

  /** Tells the server that all rows are sent. */
  finish(): void {
    if (this.isWanted) this.#stream?.write(COPY_DONE);
    this.#isOpen = false;
  }

  /** Fails the COPY on the server, which then stores none of the rows. `reason` is part of the error of the server. */
  fail(reason: string): void {
    if (this.isWanted) this.#stream?.write(createCopyFail(reason));
    this.#hasFailed = true;
    this.#isOpen = false;
    this.#wake?.();
  }

  /** True while the server accepts rows. */
  get isWanted(): boolean {
    return this.#isOpen && !this.isOver;
  }

  protected override onOver(): void {
    this.#wake?.();
  }

  /**
   * Writes one CopyData message: the byte `d`, the length, and the rows. Returns false if the socket is full. If
   * `isLast`, gives the chunk of `part` back after the message is sent.
   */
  #write(part: Buffer, isLast: boolean): boolean {
    const stream = this.#stream;
    if (stream === undefined) return true;
    const header = Buffer.allocUnsafe(5);
    header[0] = 0x64;
    header.writeInt32BE(4 + part.length, 1);
    stream.cork();
    stream.write(header);
    const isAccepted = stream.write(part, isLast ? (error) => error || giveBack(part) : undefined);
    stream.uncork();
    return isAccepted && !stream.writableNeedDrain;
  }

  /**
   * Yields to the event loop now and then: if the socket is never full and the data never waits, nothing else yields.
   */
  async #takeTurns(bytes: number): Promise<void> {
    this.#bytesInTurn += bytes;
    this.#partsInTurn += 1;
    if (this.#bytesInTurn < TURN_BYTES && this.#partsInTurn < TURN_PARTS) return;
    this.#bytesInTurn = this.#partsInTurn = 0;
    await turn();
  }

  /** Waits until the socket accepts more, or until the COPY ends. */
  async #waitForDrain(): Promise<void> {
    const stream = this.#stream;
    if (stream === undefined || !stream.writableNeedDrain) return;
    let onDrain: () => void = () => undefined;
    const drained = new Promise<void>((resolve) => stream.once('drain', (onDrain = resolve)));
    await this.waitWhileOpen(drained);
    stream.removeListener('drain', onDrain);
  }
}

/**
 * Sends the bytes of `data` to a `COPY … FROM STDIN`, and returns the number of rows in the server's command tag. Reads
 * the next part when the socket has accepted the part before it, so memory use does not depend on the amount of data.
 *
 * Rejects
 * - with an error of the server at once, without reading the rest of `data`
 * - with an error of `data`, after the COPY has failed on the server
 * - with the reason of `signal`
 * - with `EtlError` ETL-3541 if `text` is not a `COPY … FROM STDIN`
 */
export async function copyInto(
  taskConnection: TaskConnection | ProtocolClient,
  text: string,
  data: AsyncIterable<Buffer> | Iterable<Buffer>,
  { signal, moved, isOwner }: CopyInOptions,
): Promise<number> {
  signal.throwIfAborted();
  const copy = new CopyIn(text, isOwner);
  const stop = (): void => copy.fail(toError(signal.reason).message);
  signal.addEventListener('abort', stop, { once: true });
  try {
    taskConnection.query(copy);
    const wanted = await copy.waitUntilOpen();
    if (wanted) await sendAll(copy, data, moved);
    signal.throwIfAborted();
    await copy.over;
    if (wanted) return copy.rows;
    throw new EtlError('ETL-3541', {
      what: `the statement is not a COPY … FROM STDIN: ${cutText(text, 100)}`,
      fix: 'write `copy <table> (<columns>) from stdin`, with the format of the data',
    });
  } catch (error) {
    copy.fail(toError(error).message);
    await within(copy.over, COPY_END_MS);
    throw signal.aborted ? toError(signal.reason) : error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/**
 * Sends all parts of `data`, then tells the server that all rows are sent. Stops early, without an error, if the COPY
 * ends: the error of the server is then in `copy.over`. Closes data that is not read to its end. Rejects with an error
 * of `data`.
 */
async function sendAll(
  copy: CopyIn,
  data: AsyncIterable<Buffer> | Iterable<Buffer>,
  moved: CopyOptions['moved'],
): Promise<void> {
  const parts = Symbol.asyncIterator in data ? data[Symbol.asyncIterator]() : data[Symbol.iterator]();
  let isAtEnd = false;
  // Set before the data is asked for its first part: a query that the data sends would wait for the end of the COPY.
  copy.isHeld = true;
  try {
    for (;;) {
      const next = await copy.waitWhileOpen(Promise.resolve(parts.next()));
      isAtEnd = next?.done === true;
      if (next === undefined || next.done === true) break;
      await copy.send(next.value);
      if (!copy.isWanted) break;
      moved?.(next.value.length);
    }
    if (isAtEnd) copy.finish();
  } catch (error) {
    // Data that has thrown has ended, and is not closed again.
    isAtEnd = true;
    throw error;
  } finally {
    copy.isHeld = false;
    if (!isAtEnd) endData(data, parts);
  }
}

/**
 * Ends data that is not read to its end. Does not wait: data that waits for its next part would delay the error of the
 * server. Ignores an error of the ending, because the COPY has ended already.
 */
function endData(data: object, parts: AsyncIterator<Buffer> | Iterator<Buffer>): void {
  if (data instanceof Readable) data.destroy();
  else void Promise.resolve(parts.return?.()).catch(() => undefined);
}
