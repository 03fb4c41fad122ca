import { EtlError } from '../../errors.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { ClosePortal, Fetch, type PortalOptions } from './portal.js';
import { getColumn } from './columns.js';
import { createRowDecoder, type DecodeRows, type Field, type Parse } from './row-decoder.js';

/** What `rows` can be told. */
export interface RowsOptions {
  /** The most rows in a batch. Default 10,000; wide rows come in smaller ones, of about half a megabyte. */
  readonly batch?: number;
  /** Leaves every value as the text that the server writes, which is exact: Dates keep milliseconds only. */
  readonly text?: boolean;
}

/** The rows of one query, which can be read once: `for await (const row of rows)`. */
export interface Rows<Row> extends AsyncIterable<Row> {
  /** Many rows at a time, never none. */
  batches(): AsyncIterable<Row[]>;
}

/** What a query is read with. */
export interface RowFetch {
  readonly taskConnection: TaskConnection;
  /** pg's own: the values are those that pg gives for the same query. */
  readonly parserOf: (oid: number) => Parse;
}

const FIRST_ROWS = 100;
const MOST_ROWS = 10_000;
const BATCH_BYTES = 512 * 1024;
let portals = 0;

/** Reads a query batch by batch, and asks for the next one before the last one is used. */
export function readRows<Row>(
  source: RowFetch,
  open: () => Promise<PortalOptions>,
  options: RowsOptions,
): Rows<Row> {
  const { batch = MOST_ROWS } = options;
  if (!Number.isSafeInteger(batch) || batch < 1) {
    throw new EtlError('ETL-3542', { what: `Expected \`batch\` to be a whole number from 1, got ${batch}` });
  }
  const batches = (): AsyncGenerator<Row[]> => read(source, open, { ...options, batch });
  return { batches, [Symbol.asyncIterator]: () => new EachRow(batches()) };
}

async function* read<Row>(
  source: RowFetch,
  open: () => Promise<PortalOptions>,
  { batch, text = false }: RowsOptions & { readonly batch: number },
): AsyncGenerator<Row[]> {
  const { taskConnection } = source;
  const portal = `etl_${++portals}`;
  let last: Fetch | undefined;
  const fetch = (limit: number, opening?: PortalOptions): Fetch => {
    const begun = new Fetch(portal, Math.max(1, Math.min(limit, batch, MOST_ROWS)), opening);
    taskConnection.query(begun);
    last = begun;
    return begun;
  };
  let current: Fetch | undefined = fetch(FIRST_ROWS, await open());
  let decode: DecodeRows | undefined;
  try {
    while (current !== undefined) {
      await current.over;
      const { isSuspended, fields, limit }: Fetch = current;
      const bytes = current.takeBytes();
      // Before the rows are made, so that the server works meanwhile.
      current = isSuspended ? fetch(Math.floor((limit * BATCH_BYTES) / bytes.length)) : undefined;
      decode ??= createDecoder(fields ?? [], source, text);
      const rows = decode(bytes) as Row[];
      if (rows.length > 0) yield rows;
    }
  } finally {
    await close(taskConnection, portal, last);
  }
}

function createDecoder(fields: readonly Field[], { parserOf }: RowFetch, isText: boolean): DecodeRows {
  const columns = fields.map(({ dataTypeID }) => (isText ? {} : getColumn(dataTypeID, parserOf(dataTypeID))));
  return createRowDecoder(fields, columns);
}

/** A portal that failed, or whose savepoint is gone, is not there any more; the server takes that for closed. */
async function close(taskConnection: TaskConnection, portal: string, last: Fetch | undefined): Promise<void> {
  const isDone = await last?.over.then(
    () => true,
    () => false,
  );
  if (!isDone || taskConnection.lost !== undefined) return;
  const end = new ClosePortal(portal);
  taskConnection.query(end);
  await end.over;
}

/** One row at a time, without a promise chain of its own for each. */
class EachRow<Row> implements AsyncIterableIterator<Row> {
  readonly #batches: AsyncIterator<Row[]>;
  #rows: readonly Row[] = [];
  #at = 0;

  constructor(batches: AsyncIterator<Row[]>) {
    this.#batches = batches;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Row>> {
    if (this.#at >= this.#rows.length) return this.#nextBatch();
    return Promise.resolve({ done: false, value: this.#rows[this.#at++] as Row });
  }

  async return(): Promise<IteratorResult<Row>> {
    await this.#batches.return?.();
    return { done: true, value: undefined };
  }

  async #nextBatch(): Promise<IteratorResult<Row>> {
    const next = await this.#batches.next();
    if (next.done) return { done: true, value: undefined };
    this.#rows = next.value;
    this.#at = 0;
    return this.next();
  }
}
