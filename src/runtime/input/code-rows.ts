import { Readable } from 'node:stream';
import { EtlError } from '../../errors.js';
import type { Row } from '../copy/encode.js';
import { decompress } from './decompress.js';
import type { InputFile, InputOptions, InputRows } from './input.js';
import { removeMark } from './byte-order-mark.js';

const BATCH_ROWS = 1000;

/** What has been read, and that which gave something. */
const opened = new WeakSet<object>();

/**
 * What a stream or an iterable gives: bytes, when its first item is a string or bytes, otherwise rows. Throws `EtlError`
 * ETL-3553 for one that was read already, as by an earlier attempt: it would be taken for an empty one.
 */
export async function openCodeInput(
  from: AsyncIterable<unknown> | Iterable<unknown>,
  { signal, compression = 'none' }: Pick<InputOptions, 'signal' | 'compression'>,
): Promise<InputFile | InputRows> {
  const name = from instanceof Readable ? 'the stream' : 'the rows of `from`';
  const items = getIterator(from);
  if (opened.has(items) || (from instanceof Readable && (from.readableDidRead || from.destroyed)))
    throw createReadAlreadyError(name);
  opened.add(items);
  const first = await items.next();
  // A web stream, for one, has a new iterator for each that asks.
  if (first.done === true && opened.has(from) && !Array.isArray(from)) throw createReadAlreadyError(name);
  if (first.done !== true) opened.add(from);
  const start: unknown = first.value;
  if (first.done !== true && isBytes(start))
    return { name, chunks: () => removeMark(decompress(getBytes(items, start), compression, name), signal) };
  return { name, rows: () => readBatches(items, first) };
}

type Items = AsyncIterator<unknown> | Iterator<unknown>;

function getIterator(from: AsyncIterable<unknown> | Iterable<unknown>): Items {
  return Symbol.asyncIterator in from ? from[Symbol.asyncIterator]() : from[Symbol.iterator]();
}

function isBytes(item: unknown): item is string | Uint8Array {
  return typeof item === 'string' || item instanceof Uint8Array;
}

async function* getBytes(items: Items, first: string | Uint8Array): AsyncGenerator<Buffer> {
  try {
    yield toBuffer(first);
    for (let next = await items.next(); next.done !== true; next = await items.next()) {
      if (!isBytes(next.value)) throw createMixedInputError(next.value);
      yield toBuffer(next.value);
    }
  } finally {
    await items.return?.();
  }
}

function toBuffer(part: string | Uint8Array): Buffer {
  return typeof part === 'string'
    ? Buffer.from(part)
    : Buffer.from(part.buffer, part.byteOffset, part.byteLength);
}

async function* readBatches(items: Items, first: IteratorResult<unknown>): AsyncGenerator<readonly Row[]> {
  let batch: Row[] = [];
  try {
    for (let next = first; next.done !== true;) {
      batch.push(getRow(next.value));
      if (batch.length === BATCH_ROWS) {
        yield batch;
        batch = [];
      }
      const following = items.next();
      // A plain iterator needs no turn of the event loop for each row.
      next = following instanceof Promise ? await following : following;
    }
  } finally {
    await items.return?.();
  }
  if (batch.length > 0) yield batch;
}

function getRow(item: unknown): Row {
  if (typeof item === 'object' && item !== null && !Array.isArray(item) && !isBytes(item)) return item as Row;
  throw createMixedInputError(item);
}

function createMixedInputError(item: unknown): EtlError {
  const kind = item === null ? 'null' : Array.isArray(item) ? 'an array' : `a ${typeof item}`;
  return new EtlError('ETL-3560', {
    what: `\`from\` gave ${kind} where a row or bytes were expected`,
    fix: 'give either objects (a row each, with the names of the columns) or bytes, and not both',
  });
}

function createReadAlreadyError(name: string): EtlError {
  return new EtlError('ETL-3553', {
    what: `${name} was read already`,
    why: 'a stream and a generator give their data once',
    fix: 'write `from: () => …`: the function is called for each attempt, and makes a new one',
  });
}
