import { type ProtocolClient, send } from '../postgres/protocol.js';
import { copyInto } from '../copy/copy-in.js';
import { copyOut } from '../copy/copy-out.js';
import type { Parse } from '../copy/row-decoder.js';
import { type Rows, type RowsOptions, readRows } from '../copy/query-rows.js';
import { type CopyTable, type Query, toBoundQuery, buildCopy } from '../copy/statement.js';
import type { ValueMapper } from '../copy/portal.js';
import { prepareParameters } from '../postgres/parameters.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { toError } from '../../errors.js';
import { type CopySource, type RowSource, openCopyInput } from './copy-rows.js';

/** Stops a COPY before the end of its task. */
export interface CopyStop {
  /** Ends the COPY when it aborts. The COPY then throws the reason of the signal. */
  readonly signal?: AbortSignal;
}

/** The methods of a session that read or write any number of rows in constant memory. */
export interface BulkSession {
  /**
   * Reads the rows of a query, one at a time or in `batches()`. The values are the same as those that pg's type parsers
   * return for the query. Other queries may run between two rows, and `break` ends the query. Inside
   * `session.transaction(…)` call `rows` on `session`: the rows are then read in the savepoint.
   *
   * ```ts
   * for await (const { id, total } of session.rows<{ id: string; total: string }>('select id, total from orders')) …
   * for await (const orders of session.rows(session('orders').where({ region }), { batch: 500 }).batches()) …
   * ```
   */
  rows<Row extends object = Record<string, unknown>>(query: Query, options?: RowsOptions): Rows<Row>;
  /**
   * Sends bytes or rows to `COPY … FROM STDIN` and returns the number of rows that the server counted. `into` is a table
   * or the text of a COPY statement; rows need a table. The next part of `data` is read when the server has room for it.
   * An error in `data` fails the COPY, and the server stores none of its rows.
   *
   * A row is an object. Its values are written as pg writes them for a column of the type. The columns are those of
   * `into`, otherwise the properties of the first row.
   *
   * ```ts
   * await session.copyFrom({ table: 'orders', format: 'csv' }, createReadStream('orders.csv'));
   * await session.copyFrom({ table: 'orders' }, [{ id: 1, at: new Date() }]);
   * ```
   */
  copyFrom(into: string | CopyTable, data: CopySource | RowSource, stop?: CopyStop): Promise<number>;
  /**
   * Reads the bytes of `COPY … TO STDOUT`. `from` is a table or the text of a COPY statement. A part may end in the
   * middle of a row. No other query can run on the session until the last part is read or `break` ends the COPY.
   */
  copyTo(from: string | CopyTable, stop?: CopyStop): AsyncIterable<Buffer>;
}

/** Creates the methods that a session has in addition to those of Knex. */
export function createBulkSession(taskConnection: TaskConnection, client: ProtocolClient): BulkSession {
  return {
    rows: (query, options = {}) => {
      const getParser = (oid: number): Parse => client.getTypeParser(oid, 'text');
      return readRows(
        { taskConnection, getParser },
        async () => {
          const { text, values } = toBoundQuery(query);
          const prepared = prepareParameters(values, taskConnection.usesUtcDates);
          return { query: { text, values: prepared }, valueMapper: await createValueMapper() };
        },
        options,
      );
    },
    copyFrom: async (into, data, { signal = UNSTOPPED } = {}) => {
      signal.throwIfAborted();
      const { text, bytes } = await openCopyInput(taskConnection, into, { data, signal });
      return copyInto(taskConnection, text, bytes, { signal });
    },
    copyTo: (from, { signal = UNSTOPPED } = {}) =>
      readGuarded(taskConnection, buildCopy(from, 'to stdout'), signal),
  };
}

/** A signal that never aborts. */
const UNSTOPPED = new AbortController().signal;

/** Loads pg at the first call, and returns the function with which pg writes parameter values. */
async function createValueMapper(): Promise<ValueMapper> {
  const { default: pg } = await import('pg');
  return (pg as unknown as { readonly utils: { readonly prepareValue: ValueMapper } }).utils.prepareValue;
}

/**
 * Reads a COPY inside a savepoint, because a COPY that ends early fails on the server and would abort the whole
 * transaction. The end of the savepoint depends on how the COPY ends:
 *
 * - The caller reads all parts: the savepoint is released.
 * - The caller ends the COPY early with `break`, or `signal` aborts: the transaction goes back to the savepoint. The task
 *   can continue to use the session.
 * - The server reports an error: the savepoint stays. The transaction is aborted, as after any other failed statement.
 */
async function* readGuarded(
  taskConnection: TaskConnection,
  text: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  await send(taskConnection, 'savepoint etl_copy');
  let isWhole = false;
  let failure: Error | undefined;
  try {
    yield* copyOut(taskConnection, text, { signal });
    isWhole = true;
  } catch (error) {
    failure = toError(error);
    throw error;
  } finally {
    const rollback = isWhole ? '' : 'rollback to savepoint etl_copy; ';
    const isUsable = failure === undefined || signal.aborted;
    if (isUsable) await send(taskConnection, `${rollback}release savepoint etl_copy`);
  }
}
