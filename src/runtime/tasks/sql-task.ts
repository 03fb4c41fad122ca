import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { createMacros } from '../interval/macros.js';
import { type BoundSql, bindNamed } from '../sql/bind.js';
import { splitStatements } from '../sql/split.js';
import {
  type IncrementalRange,
  type SqlIncremental,
  prepareHighWatermark,
  findIncrementalRange,
} from '../watermark/incremental.js';
import type { TransactionBody, TaskWork } from './task-body.js';
import type { TransactionContext } from './task-context.js';

/** One text with any number of statements, one statement with values, or a list of both, run in order. */
export type Sql = string | BoundSql | readonly (string | BoundSql)[];

/** What a `sql` task gives to the tasks that need it. */
export interface SqlResult {
  /** Rows that its statements inserted, updated, deleted or merged. */
  readonly rows: number;
  /** The server's command and row count of each statement, in order. */
  readonly statements: readonly { readonly command: string; readonly rows: number }[];
}

/** What the functions of a sql task get. */
export type SqlContext = TransactionContext & { readonly incremental: IncrementalRange | undefined };

/** Either the SQL itself, or a `.sql` file beside the config. */
export interface SqlSource {
  readonly sql?: Sql | ((context: SqlContext) => Sql | Promise<Sql>);
  /**
   * A path from the directory of the config. The file may hold many statements; `:name` is bound to the macro, the
   * param or the value of that name; `:low`, `:high` and `:full_refresh` to those of an incremental task.
   */
  readonly file?: string;
  /** More values for the `:name`s of `file`. */
  readonly values?: (context: SqlContext) => Readonly<Record<string, unknown>>;
  /** Its statements read a range of rows only: from where the last run has ended to where all rows are there. */
  readonly incremental?: SqlIncremental;
}

/** Statements in one transaction. */
export function createSqlBody(source: SqlSource): TransactionBody {
  const { incremental, file } = source;
  const body: TransactionBody = {
    transactional: true,
    readCode: async (root) => {
      const text = file === undefined ? describeSql(source) : await readSqlFile(file, root);
      return incremental === undefined ? text : JSON.stringify([text, incremental]);
    },
    run: async (work) => runStatements(work, await createStatements(source, work)),
  };
  if (incremental === undefined) return body;
  const findHighWatermark: TransactionBody['findHighWatermark'] = ({ client, signal }) =>
    prepareHighWatermark(client, incremental, { source: incremental, signal });
  return { ...body, findHighWatermark: findHighWatermark };
}

function describeSql({ sql }: SqlSource): string {
  return typeof sql === 'function' ? sql.toString() : JSON.stringify(sql);
}

async function createStatements(source: SqlSource, work: TaskWork): Promise<readonly BoundSql[]> {
  const context = await createContext(source, work);
  if (source.file !== undefined)
    return createFileStatements(source.file, source, { context, root: work.root });
  const sql = typeof source.sql === 'function' ? await source.sql(context) : source.sql;
  const list: readonly (string | BoundSql)[] = Array.isArray(sql) ? sql : [sql as string | BoundSql];
  return list.map((each) => (typeof each === 'string' ? { text: each } : each));
}

async function createContext({ incremental }: SqlSource, work: TaskWork): Promise<SqlContext> {
  const { context, watermarks, taskConnection, highWatermark } = work;
  const range =
    incremental &&
    highWatermark &&
    (await findIncrementalRange(incremental, highWatermark, {
      taskConnection,
      watermarks,
      log: context.log,
    }));
  return { ...context, watermark: watermarks.open, incremental: range };
}

async function createFileStatements(
  file: string,
  source: SqlSource,
  { context, root }: { readonly context: SqlContext; readonly root: string },
): Promise<readonly BoundSql[]> {
  const values = collectNamedValues(source, context);
  const statements = splitStatements(await readSqlFile(file, root));
  return statements.map((statement) => bindNamed(statement.text, values));
}

function collectNamedValues(source: SqlSource, context: SqlContext): Readonly<Record<string, unknown>> {
  const { run, interval, incremental } = context;
  const macros = createMacros({
    interval,
    runId: run.id,
    dagId: run.dagId,
    taskId: run.taskId,
    attempt: run.attempt,
  });
  const range = incremental && {
    low: incremental.low,
    high: incremental.high,
    full_refresh: run.fullRefresh,
  };
  return { ...macros, ...(context.params as object), ...range, ...source.values?.(context) };
}

async function readSqlFile(file: string, root: string): Promise<string> {
  try {
    return await readFile(resolve(root, file), 'utf8');
  } catch (error) {
    throw new EtlError('ETL-3005', {
      what: `the SQL file "${file}" can't be read`,
      why: (error as NodeJS.ErrnoException).code,
      fix: 'the path starts at the directory of the config file',
      cause: error,
    });
  }
}

async function runStatements(
  { taskConnection, context }: TaskWork,
  statements: readonly BoundSql[],
): Promise<SqlResult> {
  const done: { command: string; rows: number }[] = [];
  for (const { text, values } of statements) {
    context.signal.throwIfAborted();
    const answer = await (taskConnection.query({ text, values }) as Promise<QueryResult | QueryResult[]>);
    for (const { command, rowCount } of [answer].flat()) done.push({ command, rows: rowCount ?? 0 });
  }
  return { rows: taskConnection.rows.written, statements: done };
}
