import { EtlError, didYouMean } from '../../errors.js';
import { type Encoder, type Row, chooseEncoder } from '../copy/encode.js';
import { type CopyTable, buildCopy } from '../copy/statement.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { toBuffer } from '../postgres/value-text.js';
import { describeTable } from '../table/describe.js';
import { assertColumns, assertTable } from '../table/refuse.js';
import { untilAborted } from '../waiting.js';

/** The data of a COPY, in parts of any size. A string is sent in UTF-8. */
export type CopySource = AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

/** Rows: objects with the columns of the table as properties. */
export type RowSource = AsyncIterable<object> | Iterable<object>;

/** The text of a COPY, and the bytes for it. */
export interface CopyInput {
  readonly text: string;
  readonly bytes: AsyncIterable<Buffer>;
}

/** The number of rows that are encoded together. */
const BATCH_ROWS = 500;

type Part = Uint8Array | string | object;
type Parts = AsyncIterator<Part> | Iterator<Part>;

/**
 * Returns the COPY for `data`. Bytes are sent as they are. Rows are written as pg writes them for the types of the table:
 * only for a table in the format `text`, whose first part of data is read here. While it is read, the connection refuses
 * queries, as during the COPY: a query of `data` would wait for the end of the COPY.
 *
 * The columns of rows are those of `into`, otherwise those of the first row. A row without one of them has NULL.
 *
 * Throws `EtlError` ETL-3511 to ETL-3514 if the table does not exist or the columns do not fit, an error of `data`, and
 * the reason of `signal`. Reading the bytes throws ETL-3560 for rows where bytes are expected, ETL-3561 for a row with
 * another property, and ETL-3558 for a value that can't be written.
 */
export async function openCopyInput(
  taskConnection: TaskConnection,
  into: string | CopyTable,
  { data, signal }: { readonly data: CopySource | RowSource; readonly signal: AbortSignal },
): Promise<CopyInput> {
  const text = buildCopy(into, 'from stdin');
  if (typeof into === 'string' || (into.format ?? 'text') !== 'text') return { text, bytes: readBytes(data) };
  const parts: Parts = Symbol.asyncIterator in data ? data[Symbol.asyncIterator]() : data[Symbol.iterator]();
  try {
    const first = await taskConnection.hold(text, async () =>
      untilAborted(Promise.resolve(parts.next()), signal),
    );
    if (first.done === true || isBytes(first.value)) return { text, bytes: readParts(parts, first, toBytes) };
    const { columns, encode } = await prepareRows(taskConnection, into, first.value);
    const known = new Set(columns);
    const rows = readParts(parts, first, (part) => assertRow(part, known));
    return { text: buildCopy({ ...into, columns }, 'from stdin'), bytes: readBatches(rows, encode) };
  } catch (error) {
    // Does not wait: data that waits for its next part would delay the error.
    void Promise.resolve(parts.return?.()).catch(() => undefined);
    throw error;
  }
}

function isBytes(part: unknown): part is Uint8Array | string {
  return typeof part === 'string' || part instanceof Uint8Array;
}

/** Yields each part of the data as a buffer. */
async function* readBytes(data: CopySource | RowSource): AsyncGenerator<Buffer> {
  for await (const part of data) yield toBytes(part);
}

/** Returns the columns of rows whose first row is `row`, and the encoder for the types that the table has for them. */
async function prepareRows(
  taskConnection: TaskConnection,
  into: CopyTable,
  row: unknown,
): Promise<{ readonly columns: readonly string[]; readonly encode: Encoder }> {
  if (typeof row !== 'object' || row === null || Array.isArray(row)) throw createMixedError(row);
  const table = await describeTable(taskConnection, into.table);
  assertTable(table, into.table);
  const columns = into.columns ?? Object.keys(row);
  assertColumns(table, columns);
  const types = new Map(table.columns.map(({ name, value }) => [name, value]));
  const { usesUtcDates } = taskConnection;
  const written = columns.map((name) => ({ name, type: types.get(name) }));
  return { columns, encode: chooseEncoder(written, { usesUtcDates, jsonStrings: 'value' }) };
}

/** Yields the parts, beginning with `first`, converted by `convert`. Closes `parts` when the reading ends. */
async function* readParts<T>(
  parts: Parts,
  first: IteratorResult<Part>,
  convert: (part: Part) => T,
): AsyncGenerator<T> {
  try {
    for (let next = first; next.done !== true; next = await parts.next()) yield convert(next.value);
  } finally {
    await parts.return?.();
  }
}

/** Encodes rows in batches. */
async function* readBatches(rows: AsyncIterable<Row>, encode: Encoder): AsyncGenerator<Buffer> {
  let batch: Row[] = [];
  for await (const row of rows) {
    batch.push(row);
    if (batch.length < BATCH_ROWS) continue;
    yield encode(batch);
    batch = [];
  }
  if (batch.length > 0) yield encode(batch);
}

/** Throws ETL-3560 for a part that is not bytes. */
function toBytes(part: Part): Buffer {
  if (isBytes(part)) return toBuffer(part);
  throw createMixedError(part);
}

/** Throws ETL-3560 for a part that is not a row, and ETL-3561 for a property that is not a column. */
function assertRow(part: Part, columns: ReadonlySet<string>): Row {
  if (typeof part !== 'object' || part === null || isBytes(part)) throw createMixedError(part);
  for (const name in part) {
    if (columns.has(name)) continue;
    throw new EtlError('ETL-3561', {
      what: `a row has the property "${name}", which is not a column${didYouMean(name, columns)}`,
      why: `the columns come from \`columns\` or from the first row: ${[...columns].join(', ').slice(0, 200)}`,
      fix: 'remove the property, or name it in `columns`',
    });
  }
  return part as Row;
}

function createMixedError(part: unknown): EtlError {
  const kind = part === null ? 'null' : Array.isArray(part) ? 'an array' : `a ${typeof part}`;
  return new EtlError('ETL-3560', {
    what: `the data of copyFrom has ${kind} instead of a row or bytes`,
    fix: 'give bytes, or rows (objects with column names as keys) for a table in the format "text", but not both',
  });
}
