import { EtlError } from '../../errors.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { ClosePortal, Fetch, type PortalOptions } from './portal.js';
import { getColumn } from './columns.js';
import { createRowDecoder, type DecodeRows, type Parse } from './row-decoder.js';

/** The options of `session.rows`. */
export interface RowsOptions {
  /** The maximum number of rows in a batch. Default 10,000. A batch of wide rows is smaller: about 512 KiB. */
  readonly batch?: number;
  /** Returns every value as the exact text of the server. A `Date`, for example, keeps only milliseconds. */
  readonly text?: boolean;
}

/** The rows of one query: `for await (const row of rows)`. The rows can be read only once. */
export interface Rows<Row> extends AsyncIterable<Row> {
  /** Returns the rows in batches. A batch is never empty. */
  batches(): AsyncIterable<Row[]>;
}

/** The connection and the parsers with which a query is read. */
export interface RowFetch {
  readonly taskConnection: TaskConnection;
  /** Returns pg's parser for a type, so that the values are the same as pg's. */
  readonly getParser: (oid: number) => Parse;
}

/** The number of rows of the first fetch, before the size of a row is known. */
const FIRST_ROWS = 100;
const MOST_ROWS = 10_000;
const BATCH_BYTES = 512 * 1024;
/** The number of portals that were opened, for their names. */
let portalCount = 0;

/**
 * Reads a query batch by batch. Asks the server for the next batch before the caller uses the current batch. `open` is
 * called when the reading begins. Throws `EtlError` ETL-3542 if `batch` is not a whole number from 1.
 */
export function readRows<Row>(
  rowFetch: RowFetch,
  open: () => Promise<PortalOptions>,
  options: RowsOptions,
): Rows<Row> {
  const { batch = MOST_ROWS } = options;
  if (!Number.isSafeInteger(batch) || batch < 1) {
    throw new EtlError('ETL-3542', { what: `expected \`batch\` to be a whole number from 1, got ${batch}` });
  }
  const batches = (): AsyncGenerator<Row[]> => read(rowFetch, open, { ...options, batch });
  return { batches, [Symbol.asyncIterator]: () => new RowIterator(batches()) };
}

/**
 * Yields the rows of one query in batches. The first fetch asks for `FIRST_ROWS` rows. Each next fetch asks for as many
 * rows as fill `BATCH_BYTES`, by the size of the rows before, but for at most `batch` rows. Closes the portal when the
 * reading ends, also if it ends early.
 */
async function* read<Row>(
  rowFetch: RowFetch,
  open: () => Promise<PortalOptions>,
  { batch, text = false }: RowsOptions & { readonly batch: number },
): AsyncGenerator<Row[]> {
  const { taskConnection, getParser } = rowFetch;
  const portal = `etl_${++portalCount}`;
  /** The last fetch that was sent. Undefined until the first fetch is sent. */
  let last: Fetch | undefined;
  /** Sends a fetch of about `limit` rows. `portalOptions` are for the first fetch only, which opens the portal. */
  const fetch = (limit: number, portalOptions?: PortalOptions): Fetch => {
    const next = new Fetch(portal, Math.max(1, Math.min(limit, batch, MOST_ROWS)), portalOptions);
    taskConnection.query(next);
    last = next;
    return next;
  };
  let current: Fetch | undefined = fetch(FIRST_ROWS, await open());
  let decode: DecodeRows | undefined;
  try {
    while (current !== undefined) {
      await current.over;
      const { isSuspended, fields, limit }: Fetch = current;
      const bytes = current.takeBytes();
      // Asks for the next rows before the current rows are decoded, so that the server works at the same time.
      current = isSuspended ? fetch(Math.floor((limit * BATCH_BYTES) / bytes.length)) : undefined;
      decode ??= createRowDecoder(
        fields ?? [],
        (fields ?? []).map(({ dataTypeID: oid }) => (text ? {} : getColumn(oid, getParser(oid)))),
      );
      const rows = decode(bytes) as Row[];
      if (rows.length > 0) yield rows;
    }
  } finally {
    await close(taskConnection, portal, last);
  }
}

/**
 * Waits for the last fetch, and closes the portal on the server. Does nothing in these cases:
 *
 * - No fetch was sent: there is no portal.
 * - The last fetch failed: the server has closed the portal.
 * - The connection is lost.
 *
 * A rollback to a savepoint also closes the portals that were opened after the savepoint. Closing such a portal again
 * is allowed: the server ignores a Close for a portal that does not exist.
 */
async function close(taskConnection: TaskConnection, portal: string, last: Fetch | undefined): Promise<void> {
  const hasFetched = await last?.over.then(
    () => true,
    () => false,
  );
  if (!hasFetched || taskConnection.lost !== undefined) return;
  const end = new ClosePortal(portal);
  taskConnection.query(end);
  await end.over;
}

/** Iterates over the rows of batches. An async generator would create several promises for each row. */
class RowIterator<Row> implements AsyncIterableIterator<Row> {
  readonly #batches: AsyncIterator<Row[]>;
  #rows: readonly Row[] = [];
  #at = 0;

  constructor(batches: AsyncIterator<Row[]>) {
    this.#batches = batches;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Returns the next row of the current batch, or the first row of the next batch. */
  next(): Promise<IteratorResult<Row>> {
    if (this.#at >= this.#rows.length) return this.#nextBatch();
    return Promise.resolve({ done: false, value: this.#rows[this.#at++] as Row });
  }

  /** Ends the reading early, for example after `break`, and closes the portal. */
  async return(): Promise<IteratorResult<Row>> {
    await this.#batches.return?.();
    return { done: true, value: undefined };
  }

  /** Reads the next batch, and returns its first row. A batch is never empty. */
  async #nextBatch(): Promise<IteratorResult<Row>> {
    const next = await this.#batches.next();
    if (next.done) return { done: true, value: undefined };
    this.#rows = next.value;
    this.#at = 0;
    return this.next();
  }
}
