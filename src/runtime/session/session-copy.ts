import { type ProtocolClient, send } from '../postgres/protocol.js';
import { copyInto } from '../copy/copy-in.js';
import { copyOut } from '../copy/copy-out.js';
import type { Parse } from '../copy/row-decoder.js';
import { type Rows, type RowsOptions, readRows } from '../copy/query-rows.js';
import { type CopyTable, type Query, toBoundQuery, copyFromText, copyToText } from '../copy/statement.js';
import type { ValueMapper } from '../copy/portal.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { toError } from '../../errors.js';

/** Bytes for a COPY; text is sent in UTF-8. */
export type CopySource = AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

/** What stops a COPY besides the end of its task. */
export interface CopyStop {
  readonly signal?: AbortSignal;
}

/** What a session can do with any number of rows in constant memory. */
export interface BulkSession {
  /**
   * The rows of a query, one at a time or in `batches()`, with the values that pg's type parsers give for the same
   * query. Other queries may run between two rows, and `break` ends the query. Inside `session.transaction(…)` it is
   * the session's own as well.
   *
   * ```ts
   * for await (const { id, total } of session.rows<{ id: string; total: string }>('select id, total from orders')) …
   * for await (const orders of session.rows(session('orders').where({ region }), { batch: 500 }).batches()) …
   * ```
   */
  rows<Row extends object = Record<string, unknown>>(query: Query, options?: RowsOptions): Rows<Row>;
  /**
   * Sends bytes to `COPY … FROM STDIN` and returns the number of rows by the server's count. Takes the next part when
   * the server has room for it. An error of the source fails the COPY, and nothing of it is kept.
   */
  copyFrom(target: string | CopyTable, source: CopySource, stop?: CopyStop): Promise<number>;
  /**
   * The bytes of `COPY … TO STDOUT`, in parts that end anywhere. No other query can run on the session until they are
   * read, or `break` has ended the COPY.
   */
  copyTo(source: string | CopyTable, stop?: CopyStop): AsyncIterable<Buffer>;
}

/** Adds to a session what Knex does not have. */
export function createBulkSession(taskConnection: TaskConnection, client: ProtocolClient): BulkSession {
  return {
    rows: (query, options = {}) => {
      const parserOf = (oid: number): Parse => client.getTypeParser(oid, 'text');
      return readRows(
        { taskConnection, parserOf },
        async () => ({ query: toBoundQuery(query), valueMapper: await createValueMapper() }),
        options,
      );
    },
    copyFrom: (target, source, { signal = UNSTOPPED } = {}) =>
      copyInto(taskConnection, copyFromText(target), readBuffers(source), { signal }),
    copyTo: (source, { signal = UNSTOPPED } = {}) => readGuarded(taskConnection, copyToText(source), signal),
  };
}

const UNSTOPPED = new AbortController().signal;

/** How pg writes values. It is loaded with the first query, as the database is. */
async function createValueMapper(): Promise<ValueMapper> {
  const { default: pg } = await import('pg');
  return (pg as unknown as { readonly utils: { readonly prepareValue: ValueMapper } }).utils.prepareValue;
}

async function* readBuffers(source: CopySource): AsyncGenerator<Buffer> {
  for await (const part of source) {
    if (typeof part === 'string') yield Buffer.from(part);
    else yield Buffer.from(part.buffer, part.byteOffset, part.byteLength);
  }
}

/** A COPY that is ended early fails on the server: the savepoint keeps that from the rest of the transaction. */
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
    const back = isWhole ? '' : 'rollback to savepoint etl_copy; ';
    if (failure === undefined || signal.aborted)
      await send(taskConnection, `${back}release savepoint etl_copy`);
  }
}
