import { Readable } from 'node:stream';
import { EtlError } from '../../errors.js';
import type { Row } from '../copy/encode.js';
import { toBuffer } from '../postgres/value-text.js';
import { decompress } from './decompress.js';
import type { InputFile, InputOptions, InputRows } from './input.js';
import { removeMark } from './byte-order-mark.js';
import { CLEAN_UP_MS, within } from '../waiting.js';

/** The number of rows in a batch. */
const BATCH_ROWS = 1000;

/** All iterators that were opened, and all inputs whose iterator has returned an item. */
const opened = new WeakSet<object>();

/**
 * Opens a stream or an iterable. The input is a file if the first item is a string or bytes, otherwise rows.
 *
 * Throws `EtlError` ETL-3553 if the stream or iterable was read before, for example by an earlier attempt: it would
 * look empty now. Reading throws ETL-3560 if the items are a mix of rows and bytes, or neither.
 */
export async function openCodeInput(
  from: AsyncIterable<unknown> | Iterable<unknown>,
  { signal, compression = 'none' }: Pick<InputOptions, 'signal' | 'compression'>,
): Promise<InputFile | InputRows> {
  const name = from instanceof Readable ? 'the stream' : 'the rows of `from`';
  const items: Items = Symbol.asyncIterator in from ? from[Symbol.asyncIterator]() : from[Symbol.iterator]();
  if (opened.has(items) || (from instanceof Readable && (from.readableDidRead || from.destroyed)))
    throw createReadAlreadyError(name);
  opened.add(items);
  const first = await items.next();
  // A web stream returns a new iterator on each call, so the check above does not find that the stream was read.
  if (first.done === true && opened.has(from) && !Array.isArray(from)) throw createReadAlreadyError(name);
  if (first.done !== true) opened.add(from);
  const start: unknown = first.value;
  if (first.done !== true && isBytes(start))
    return {
      name,
      isUnnamed: true,
      chunks: () => removeMark(decompress(getBytes(items, start), compression, name), signal),
    };
  return { name, rows: () => readBatches(items, first) };
}

type Items = AsyncIterator<unknown> | Iterator<unknown>;

function isBytes(item: unknown): item is string | Uint8Array {
  return typeof item === 'string' || item instanceof Uint8Array;
}

/**
 * Yields the items as bytes, beginning with `first`. Closes the iterator when the reading ends. Throws ETL-3560 for an
 * item that is not a string or bytes.
 */
async function* getBytes(items: Items, first: string | Uint8Array): AsyncGenerator<Buffer> {
  try {
    yield toBuffer(first);
    for (let next = await items.next(); next.done !== true; next = await items.next()) {
      if (!isBytes(next.value)) throw createMixedInputError(next.value);
      yield toBuffer(next.value);
    }
  } finally {
    await closeItems(items);
  }
}

/**
 * Yields the items as batches of `BATCH_ROWS` rows, beginning with the item of `first`. Closes the iterator when the
 * reading ends. Throws ETL-3560 for an item that is not a row.
 */
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
      // Without `await`, a synchronous iterator takes no microtask for each row.
      next = following instanceof Promise ? await following : following;
    }
  } finally {
    await closeItems(items);
  }
  if (batch.length > 0) yield batch;
}

/**
 * Closes an iterator of the user. Throws what its clean-up throws. Waits at most `CLEAN_UP_MS` for the clean-up, because the
 * input is over, or the load has failed already.
 */
async function closeItems(items: Items): Promise<void> {
  const closed = items.return?.();
  if (closed instanceof Promise && !(await within(closed, CLEAN_UP_MS))) return;
  await closed;
}

/** Returns an item that is a row. Throws ETL-3560 for an array, bytes, or anything that is not an object. */
function getRow(item: unknown): Row {
  if (typeof item === 'object' && item !== null && !Array.isArray(item) && !isBytes(item)) return item as Row;
  throw createMixedInputError(item);
}

/** Creates the error ETL-3560 for an input that yields rows and bytes mixed. The message names the type of `item`. */
function createMixedInputError(item: unknown): EtlError {
  const kind = item === null ? 'null' : Array.isArray(item) ? 'an array' : `a ${typeof item}`;
  return new EtlError('ETL-3560', {
    what: `\`from\` returned ${kind} instead of a row or bytes`,
    fix: 'return either objects (one per row, with column names as keys) or bytes, but not both',
  });
}

function createReadAlreadyError(name: string): EtlError {
  return new EtlError('ETL-3553', {
    what: `${name} can't be read a second time`,
    why: 'a stream or a generator returns its data once',
    fix: 'write `from: () => …`: each attempt calls the function, which returns a new stream or generator',
  });
}
