import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import type { Connection } from 'pg';
import { EtlError, toError } from '../../errors.js';
import { giveBack } from '../../hooks/chunks.js';
import type { ProtocolClient } from '../postgres/protocol.js';
import { COPY_END_MS, within } from '../waiting.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { Exchange, copyFail } from './exchange.js';

/** What moves bytes to or from the server. */
export interface CopyOptions {
  /** Ends the COPY; what was sent is not kept. */
  readonly signal: AbortSignal;
  /** Called with the number of bytes of each part that was moved. */
  readonly moved?: (bytes: number) => void;
}

/** What brings bytes to the server. */
export interface CopyInOptions extends CopyOptions {
  /** Nobody else reads the chunks: they are given back once they are sent. */
  readonly isOwner?: boolean;
}

/** The most bytes in one message: a stop is noticed between two. */
const MESSAGE_BYTES = 1024 * 1024;
/** After so much, or so many parts, the server's answers, timers and signals have their turn. */
const TURN_BYTES = 256 * 1024;
const TURN_PARTS = 64;
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]);

/** `COPY … FROM STDIN` on a connection: rows go in by `send`, as fast as the socket takes them. */
export class CopyIn extends Exchange {
  #stream: Connection['stream'] | undefined;
  #isOpen = false;
  #hasFailed = false;
  /** Waits for the next part of its source. */
  isHeld = false;
  #bytesInTurn = 0;
  #partsInTurn = 0;
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

  override handleCopyInResponse(connection: Connection): void {
    if (this.#hasFailed) return super.handleCopyInResponse(connection);
    this.#isOpen = true;
    this.#wake?.();
  }

  /** Waits until the server wants rows; false when it wants none. */
  async waitUntilOpen(): Promise<boolean> {
    if (!this.#isOpen && !this.isOver) await this.waitWhileOpen(new Promise<never>(() => undefined));
    return this.isWanted;
  }

  /** Sends rows and waits for the socket to take them. */
  async send(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; at += MESSAGE_BYTES) {
      if (!this.isWanted) return;
      const part = chunk.subarray(at, at + MESSAGE_BYTES);
      const isLast = at + MESSAGE_BYTES >= chunk.length;
      if (!this.#write(part, isLast && this.#isOwner)) await this.#waitForDrain();
      await this.#takeTurns(part.length);
    }
  }

  /** As `whileOpen`, for what the task brings. */
  async waitWhileHeld<T>(work: Promise<T>): Promise<T | undefined> {
    this.isHeld = true;
    try {
      return await this.waitWhileOpen(work);
    } finally {
      this.isHeld = false;
    }
  }

  /** Waits for `work`, but not beyond the end of the COPY: then undefined. */
  async waitWhileOpen<T>(work: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      work.then(resolve, reject);
    });
  }

  /** Tells the server that all rows were sent. */
  finish(): void {
    if (this.isWanted) this.#stream?.write(COPY_DONE);
    this.#isOpen = false;
  }

  /** Tells the server to keep nothing, which ends the statement with an error there. */
  fail(reason: string): void {
    if (this.isWanted) this.#stream?.write(copyFail(reason));
    this.#hasFailed = true;
    this.#isOpen = false;
    this.#wake?.();
  }

  get isWanted(): boolean {
    return this.#isOpen && !this.isOver;
  }

  protected override onOver(): void {
    this.#wake?.();
  }

  #write(part: Buffer, isOver: boolean): boolean {
    const stream = this.#stream;
    if (stream === undefined) return true;
    const header = Buffer.allocUnsafe(5);
    header[0] = 0x64;
    header.writeInt32BE(4 + part.length, 1);
    stream.cork();
    stream.write(header);
    const isTaken = stream.write(part, isOver ? (error) => error || giveBack(part) : undefined);
    stream.uncork();
    return isTaken && !stream.writableNeedDrain;
  }

  /** Neither a socket that takes all at once nor a source that has all at once waits for anything. */
  async #takeTurns(bytes: number): Promise<void> {
    this.#bytesInTurn += bytes;
    this.#partsInTurn += 1;
    if (this.#bytesInTurn < TURN_BYTES && this.#partsInTurn < TURN_PARTS) return;
    this.#bytesInTurn = this.#partsInTurn = 0;
    await turn();
  }

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
 * Sends the bytes of `source` to a `COPY … FROM STDIN` and returns the rows by the server's tag. Takes the next part
 * when the socket has taken the one before it, so that memory does not grow with the source.
 *
 * Rejects with the error of the server at once, however much of the source is left; with that of the source, after the
 * server was told to keep nothing; with the reason of `signal`; and with ETL-3541 for a text that is no such COPY.
 */
export async function copyInto(
  taskConnection: TaskConnection | ProtocolClient,
  text: string,
  source: AsyncIterable<Buffer> | Iterable<Buffer>,
  { signal, moved, isOwner }: CopyInOptions,
): Promise<number> {
  signal.throwIfAborted();
  const copy = new CopyIn(text, isOwner);
  const stop = (): void => copy.fail(toError(signal.reason).message);
  signal.addEventListener('abort', stop, { once: true });
  try {
    taskConnection.query(copy);
    const wanted = await copy.waitUntilOpen();
    if (wanted) await sendAll(copy, source, moved);
    signal.throwIfAborted();
    await copy.over;
    if (!wanted) throw createNotFromStdinError(text);
    return copy.rows;
  } catch (error) {
    copy.fail(toError(error).message);
    await within(copy.over, COPY_END_MS);
    throw signal.aborted ? toError(signal.reason) : error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function sendAll(
  copy: CopyIn,
  source: AsyncIterable<Buffer> | Iterable<Buffer>,
  moved: CopyOptions['moved'],
): Promise<void> {
  const parts = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  let isAtEnd = false;
  try {
    for (;;) {
      const next = await copy.waitWhileHeld(Promise.resolve(parts.next()));
      isAtEnd = next?.done === true;
      if (next === undefined || next.done === true) break;
      await copy.send(next.value);
      if (!copy.isWanted) break;
      moved?.(next.value.length);
    }
    if (isAtEnd) copy.finish();
  } catch (error) {
    isAtEnd = true;
    throw error;
  } finally {
    if (!isAtEnd) leave(source, parts);
  }
}

/**
 * Not awaited: a source that is just waiting for its next part would keep the server's error back. Its own end has
 * nothing to say about a COPY that has ended already.
 */
function leave(source: object, parts: AsyncIterator<Buffer> | Iterator<Buffer>): void {
  if (source instanceof Readable) source.destroy();
  else void Promise.resolve(parts.return?.()).catch(() => undefined);
}

function createNotFromStdinError(text: string): EtlError {
  return new EtlError('ETL-3541', {
    what: `the statement takes no rows: ${text.slice(0, 100)}`,
    fix: 'write `copy <table> (<columns>) from stdin`, with its format',
  });
}
