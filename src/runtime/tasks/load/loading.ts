import { EtlError } from '../../../errors.js';
import { copyInto } from '../../copy/copy-in.js';
import { quoteIdentifier } from '../../sql/quote.js';
import type { DatabaseError } from '../../postgres/sqlstate.js';
import { type Table, describeTable } from '../../table/describe.js';
import { assertSameColumns, assertTable, listNames } from '../../table/refuse.js';
import { type DescribedTarget, nameTargetTable, writeDescribed } from '../../table/write.js';
import type { TaskWork } from '../task-body.js';
import { findUnsetCursors } from '../unset-cursor.js';
import { applyContract, createTable } from './contract.js';
import { CopyAround } from './copy-around.js';
import type { LaterValues } from '../../format/later-value.js';
import { createLaterCheck } from './inferred-columns.js';
import { type Feed, addFile } from './feed.js';
import { openFeeds } from './feeds.js';
import type { LoadResult, LoadSource } from './load-input.js';
import { cutBatches, getRow } from './record-batches.js';
import { Rejects } from './rejects.js';

/** One attempt of a load task. */
export class LoadAttempt {
  readonly #options: LoadSource;
  readonly #work: TaskWork;
  readonly #rejects: Rejects | undefined;
  readonly #omitted = new Set<string>();
  /** The check of the columns whose types this load has inferred. */
  #later: LaterValues | undefined;
  #files = 0;
  #bytes = 0;

  constructor(options: LoadSource, work: TaskWork) {
    this.#options = options;
    this.#work = work;
    this.#rejects = options.rejects && new Rejects(work, options.rejects);
  }

  /**
   * Loads all inputs and returns the result of the task. Opens the first input before the table is created or changed,
   * because the columns come from this input. Opens each other input after the input before it was sent. Closes the open
   * input also if the load fails.
   */
  async run(): Promise<LoadResult> {
    const { taskConnection, context } = this.#work;
    const table = await describeTable(taskConnection, this.#options.into);
    const feeds = openFeeds({
      load: this.#options,
      table,
      work: this.#work,
      onOpen: () => void this.#files++,
      omitted: this.#omitted,
    });
    try {
      const first = await feeds.next();
      const target = await this.#prepareTable(table, first.value);
      const written = await writeDescribed(taskConnection, target, async (name) => {
        let rows = 0;
        for (let next = first; !next.done; next = await feeds.next()) {
          assertSameColumns(target.columns, { name: next.value.name, columns: getNames(next.value) });
          rows += await this.#send(next.value, { name, table: target.table });
        }
        return rows;
      });
      await this.#rejects?.write();
      if (this.#options.mode === 'merge') {
        const merged = { table: this.#options.into, columns: target.columns };
        const warnings = await findUnsetCursors(taskConnection, merged, this.#work.cursorReaders());
        for (const warning of warnings) context.log(warning);
      }
      const omitted = [...this.#omitted];
      if (omitted.length > 0)
        context.log(`left out ${omitted.length === 1 ? 'column' : 'columns'} ${listNames(omitted)}`);
      return { ...written, rejected: this.#rejects?.count ?? 0, bytes: this.#bytes, files: this.#files };
    } finally {
      await feeds.return(undefined);
    }
  }

  /**
   * Creates or changes the table, so that it fits the first input. `found` is undefined if the table does not exist.
   * `first` is undefined if no input has a row: then nothing is created or changed. Throws `EtlError` ETL-3511 if the table
   * does not exist and is not created, and ETL-3512 if rows can't be loaded into it.
   */
  async #prepareTable(found: Table | undefined, first: Feed | undefined): Promise<DescribedTarget> {
    const { into, create = false, schema = 'freeze', key } = this.#options;
    const canCreate = found === undefined && create && first !== undefined;
    const table = canCreate ? await createTable(this.#work, into, first.columns, key) : found;
    assertTable(table, into);
    const agreed = first && (await applyContract(this.#work, schema, table, first));
    if (first !== undefined && (canCreate || schema === 'evolve')) {
      const created = { before: found, columns: first.columns, hasRejects: this.#rejects !== undefined };
      this.#later = createLaterCheck(this.#work, created);
    }
    return {
      ...this.#options,
      table: agreed ?? table,
      columns: first ? getNames(first) : listOwnColumns(table),
      isChecked: this.#rejects !== undefined,
    };
  }

  /**
   * Copies a feed into the table `name`, a quoted name, which has the columns of `table`. Returns the number of rows that
   * the server counted. An error of the server becomes a `FileError`, which names the input.
   */
  async #send(
    feed: Feed,
    { name, table }: { readonly name: string; readonly table: Table },
  ): Promise<number> {
    const list = feed.columns.map((column) => quoteIdentifier(column.name)).join(', ');
    const copyWith = (options: string): string => `copy ${name} (${list}) from stdin with (${options})`;
    const { taskConnection, context } = this.#work;
    const { usesUtcDates } = taskConnection;
    const chunks = feed.chunks({ table, usesUtcDates, later: this.#later });
    try {
      if (this.#rejects !== undefined)
        return await this.#sendWithRejects(
          { ...feed, chunks },
          { text: copyWith(feed.records.options), table },
          this.#rejects,
        );
      const options = { signal: context.signal, moved: this.#countBytes, isOwner: true };
      const rows = await copyInto(taskConnection, copyWith(feed.options), chunks, options);
      assertAllRowsTaken(feed, rows);
      return rows;
    } catch (error) {
      throw addFile(feed, error);
    }
  }

  /**
   * Copies a feed in batches of rows, and puts aside the rows that the server refuses. `text` is the COPY statement for rows
   * without a header. Returns the number of rows that the server accepted.
   */
  async #sendWithRejects(
    feed: OpenFeed,
    { text, table }: { readonly text: string; readonly table: Table },
    rejects: Rejects,
  ): Promise<number> {
    const { taskConnection, context } = this.#work;
    const before = rejects.count;
    const copy = new CopyAround({ taskConnection, text, signal: context.signal });
    let rows = 0;
    for await (const batch of cutBatches(feed.chunks, feed.records)) {
      this.#countBytes(batch.bytes.length);
      const reject = (index: number, error: DatabaseError): void => {
        const [line, bytes] = [batch.lineOf(index), getRow(batch, index)];
        nameTargetTable(error, table);
        rejects.add({ file: feed.name, line, bytes, encoding: feed.records.encoding }, error);
      };
      rows += await copy.copyBatch(batch, reject);
    }
    assertAllRowsTaken(feed, rows + rejects.count - before);
    return rows;
  }

  /** Counts bytes that were sent, and reports them as progress. */
  readonly #countBytes = (bytes: number): void => {
    this.#bytes += bytes;
    this.#work.moved({ bytes });
  };
}

/** A feed whose bytes are read. */
type OpenFeed = Omit<Feed, 'chunks'> & { readonly chunks: AsyncIterable<Buffer> };

function getNames({ columns }: Feed): readonly string[] {
  return columns.map(({ name }) => name);
}

/** Returns the columns of the table that COPY can set, for an input without a row, which can't name its columns. */
function listOwnColumns({ columns }: Table): readonly string[] {
  return columns
    .filter(({ isGenerated, isAlwaysIdentity }) => !isGenerated && !isAlwaysIdentity)
    .map(({ name }) => name);
}

/** Throws `EtlError` ETL-3505 if the server counted fewer or more rows than the feed sent. */
function assertAllRowsTaken(feed: Pick<Feed, 'name' | 'sent'>, taken: number): void {
  const sent = feed.sent();
  if (sent === undefined || sent === taken) return;
  throw new EtlError('ETL-3505', {
    what: `"${feed.name}" has ${sent} rows, but the server counted ${taken}`,
    why: 'a trigger of the table left out rows',
    fix: 'leave out these rows in `transform`, so that the counts agree',
  });
}
