import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { EtlError } from '../../../errors.js';
import { decodeLoosely } from '../../format/decode.js';
import type { Encoding } from '../../format/encodings.js';
import { createToStorable, listTexts, mapTexts } from '../../ledger/storable-text.js';
import { send } from '../../postgres/protocol.js';
import { describeServerError } from '../../postgres/server-error.js';
import { describeState, type DatabaseError } from '../../postgres/sqlstate.js';
import { quoteTable } from '../../sql/quote.js';
import { reserveTableName, sendDefinition } from '../../table/create-once.js';
import { describeTable } from '../../table/describe.js';
import { assertColumns, assertTable } from '../../table/refuse.js';
import type { TaskWork } from '../task-body.js';

/** How a load handles the rows that the server refuses. */
export interface RejectOptions {
  /** The largest accepted number of rejected rows. With more rejected rows the task fails and stores nothing. */
  readonly max: number;
  /**
   * Where rejected rows go: a table (`table` or `schema.table`), created if it does not exist, or a file `….ndjson`.
   */
  readonly to: string;
}

/** A rejected row, as it is stored. */
export interface Reject {
  /** The name of the input. */
  readonly file: string;
  /** The line in the input, from 1. */
  readonly line: number;
  /** The message of the server and the SQLSTATE. */
  readonly reason: string;
  /** The text of the row in the input, at most the first 10,000 characters. */
  readonly raw: string;
}

/** A row that the server refused. */
export interface RefusedRow {
  readonly file: string;
  readonly line: number;
  /** The bytes of the row without its line break. */
  readonly bytes: Buffer;
  readonly encoding: Encoding;
}

/** The largest length of `Reject.raw`, in characters. */
const RAW_LIMIT = 10_000;
/** The largest number of bytes of one character in UTF-8. */
const MAX_CHARACTER_BYTES = 4;

/** Says whether `RejectOptions.to` is a file. Otherwise it is a table. */
export function isRejectsFile(to: string): boolean {
  return to.endsWith('.ndjson');
}

/** Collects the rejected rows of one attempt and writes them at its end. */
export class Rejects {
  readonly #work: TaskWork;
  readonly #options: RejectOptions;
  readonly #rows: Reject[] = [];

  constructor(work: TaskWork, options: RejectOptions) {
    this.#work = work;
    this.#options = options;
  }

  get count(): number {
    return this.#rows.length;
  }

  /**
   * Adds a row that the server refused. Throws `EtlError` ETL-3521 if there are more rejected rows than `max`.
   */
  add({ file, line, bytes, encoding }: RefusedRow, error: DatabaseError): void {
    const reason = `${error.message} (${describeState(error.code)})`;
    const raw = decodeLoosely(bytes.subarray(0, RAW_LIMIT * MAX_CHARACTER_BYTES), encoding).slice(
      0,
      RAW_LIMIT,
    );
    this.#rows.push({ file, line, reason, raw });
    const { max } = this.#options;
    if (this.#rows.length <= max) return;
    const shown = describeServerError(error);
    throw new EtlError('ETL-3521', {
      what: `more than ${max} ${max === 1 ? 'row was' : 'rows were'} rejected`,
      where: `${file}, line ${line}`,
      why: `${shown.message} (${describeState(error.code)})`,
      fix: 'correct the rows, or set `rejects.max` to a larger number',
      rowData: shown.rowData,
    });
  }

  /**
   * Writes the rejected rows: to a table in the task's transaction, or to a file before COMMIT. Throws `EtlError`
   * ETL-3522 if the file can't be written.
   */
  async write(): Promise<void> {
    const { to } = this.#options;
    if (isRejectsFile(to)) {
      const { root, context } = this.#work;
      return writeRejectFile(resolve(root, to), `.${context.run.taskId}.tmp`, this.#rows);
    }
    if (this.#rows.length > 0) await this.#insert(to);
  }

  /**
   * Inserts the rejected rows into the table `to`, and creates the table if it does not exist. Waits for the end of another
   * task that creates the table at the same time. Throws `EtlError` ETL-3512 to
   * ETL-3514 if an existing table does not fit.
   */
  async #insert(to: string): Promise<void> {
    const { taskConnection, context } = this.#work;
    const before = taskConnection.rows.written;
    const table = await describeTable(taskConnection, to);
    if (table === undefined) {
      // Another load may have created the table since this transaction began. Queries of the system catalog do not see
      // such a table, but these statements do.
      await reserveTableName(taskConnection, to);
      await sendDefinition(
        taskConnection,
        `create table if not exists ${quoteTable(to)} (${COLUMNS.join(', ')})`,
        to,
      );
    } else {
      assertTable(table, to);
      assertColumns(table, NAMES);
    }
    // A rejected row has any bytes: the database may have refused the row because it can't store one of its characters.
    const toStorable = await createToStorable(taskConnection, listTexts(this.#rows));
    await send(
      taskConnection,
      `insert into ${quoteTable(to)} (${NAMES.join(', ')})
       select $1, $2, file, line, reason, raw
       from pg_catalog.json_to_recordset($3) as r (file pg_catalog.text, line bigint, reason pg_catalog.text,
         raw pg_catalog.text)`,
      [context.run.id, context.run.taskId, JSON.stringify(mapTexts(this.#rows, toStorable))],
    );
    // Rejected rows do not count as rows that the task wrote.
    taskConnection.rows.written = before;
  }
}

/** The columns of a table for rejected rows, as the program creates it. */
const COLUMNS = [
  'run_id pg_catalog.text not null',
  'task_id pg_catalog.text not null',
  'file pg_catalog.text not null',
  'line bigint not null',
  'reason pg_catalog.text not null',
  'raw pg_catalog.text not null',
  'rejected_at timestamp with time zone not null default pg_catalog.now()',
];
/** The columns that the program sets. */
const NAMES = ['run_id', 'task_id', 'file', 'line', 'reason', 'raw'];

/**
 * Writes rejected rows to a temporary file, whose path is `path` with `suffix`, and renames the file to `path`. So `path`
 * has either the complete new file or the old file. Throws `EtlError` ETL-3522 if the file can't be written, and removes
 * the temporary file.
 */
async function writeRejectFile(path: string, suffix: string, rejects: readonly Reject[]): Promise<void> {
  const temporary = `${path}${suffix}`;
  let file: FileHandle | undefined;
  try {
    file = await open(temporary, 'w');
    await file.writeFile(rejects.map((each) => `${JSON.stringify(each)}\n`).join(''));
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    // The error of the file is reported, not an error of the clean-up.
    await file?.close().catch(() => undefined);
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new EtlError('ETL-3522', {
      what: `the rejected rows can't be written to "${path}"`,
      why: (error as NodeJS.ErrnoException).code,
      fix: "check the path: it is relative to the directory of the Dag's config file, else to the working directory",
      cause: error,
    });
  }
}
