import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { EtlError } from '../../../errors.js';
import { send } from '../../postgres/protocol.js';
import { describeState, type DatabaseError } from '../../postgres/sqlstate.js';
import { quoteTable } from '../../sql/quote.js';
import { describeTable } from '../../table/describe.js';
import { assertColumns, assertTable } from '../../table/refuse.js';
import type { TaskWork } from '../task-body.js';

/** What becomes of rows that do not fit. */
export interface RejectOptions {
  /** With more of them the task fails, and keeps nothing. */
  readonly max: number;
  /** `table` or `schema.table`, which is made where there is none; or a file that ends in `.ndjson`. */
  readonly to: string;
}

/** A row that did not fit. */
export interface Reject {
  readonly file: string;
  readonly line: number;
  readonly reason: string;
  /** As it came, at most its first 10,000 characters. */
  readonly raw: string;
}

/** A row that the server refused. */
export interface RefusedRow {
  readonly file: string;
  readonly line: number;
  readonly raw: Buffer;
  readonly error: DatabaseError;
}

const RAW_LIMIT = 10_000;

/** Takes rows that do not fit. */
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

  /** Throws `EtlError` ETL-3521 when there are too many. */
  add({ file, line, raw, error }: RefusedRow): void {
    const reason = `${error.message} (${describeState(error.code)})`;
    // PostgreSQL's text has no NUL.
    const text = raw
      .subarray(0, RAW_LIMIT * 4)
      .toString('utf8')
      .replaceAll('\0', '\uFFFD')
      .slice(0, RAW_LIMIT);
    this.#rows.push({ file, line, reason, raw: text.replace(/\r?\n$|\r$/, '') });
    if (this.#rows.length > this.#options.max) throw createTooManyRejectsError(this.#options, this.#rows);
  }

  /** Writes them: a table in the task's transaction, a file before its COMMIT. */
  async write(): Promise<void> {
    const { to } = this.#options;
    if (isFilePath(to)) {
      const { root, context } = this.#work;
      return writeRejectFile(resolve(root, to), `.${context.run.taskId}.tmp`, this.#rows);
    }
    if (this.#rows.length > 0) await this.#insert(to);
  }

  async #insert(to: string): Promise<void> {
    const { taskConnection, context } = this.#work;
    const before = taskConnection.rows.written;
    const table = await describeTable(taskConnection, to);
    if (table === undefined)
      await send(taskConnection, `create table ${quoteTable(to)} (${COLUMNS.join(', ')})`);
    else {
      assertTable(table, to);
      assertColumns(table, NAMES);
    }
    await send(
      taskConnection,
      `insert into ${quoteTable(to)} (${NAMES.join(', ')})
       select $1, $2, file, line, reason, raw
       from json_to_recordset($3) as r (file text, line bigint, reason text, raw text)`,
      [context.run.id, context.run.taskId, JSON.stringify(this.#rows)],
    );
    // They are not rows of the table that the task is about.
    taskConnection.rows.written = before;
  }
}

const COLUMNS = [
  'run_id text not null',
  'task_id text not null',
  'file text not null',
  'line bigint not null',
  'reason text not null',
  'raw text not null',
  'rejected_at timestamptz not null default now()',
];
const NAMES = ['run_id', 'task_id', 'file', 'line', 'reason', 'raw'];

function isFilePath(to: string): boolean {
  return to.endsWith('.ndjson');
}

/** Under its name there is either the whole file or the one before. */
async function writeRejectFile(path: string, ending: string, rejects: readonly Reject[]): Promise<void> {
  const unfinished = `${path}${ending}`;
  let file: FileHandle | undefined;
  try {
    file = await open(unfinished, 'w');
    await file.writeFile(rejects.map((each) => `${JSON.stringify(each)}\n`).join(''));
    await file.sync();
    await file.close();
    await rename(unfinished, path);
  } catch (error) {
    await file?.close();
    await rm(unfinished, { force: true });
    throw new EtlError('ETL-3522', {
      what: `the rejected rows can't be written to "${path}"`,
      why: (error as NodeJS.ErrnoException).code,
      fix: 'the path starts at the directory of the config file',
      cause: error,
    });
  }
}

function createTooManyRejectsError({ max }: RejectOptions, rejects: readonly Reject[]): EtlError {
  const last = rejects.at(-1);
  return new EtlError('ETL-3521', {
    what: `more than ${max} ${max === 1 ? 'row does' : 'rows do'} not fit`,
    where: `${last?.file}, line ${last?.line}`,
    why: last?.reason,
    fix: 'look at the rows, or let `rejects.max` be larger',
  });
}
