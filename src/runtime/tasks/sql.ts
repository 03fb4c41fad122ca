import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { macrosOf } from '../macros.js';
import { bindNamed } from '../sql/bind.js';
import { splitStatements } from '../sql/split.js';
import type { TaskContext } from '../task.js';
import type { TransactionBody, Work } from './body.js';

/** SQL with the values for its `$1`, `$2`, …: values are bound, never put into the text. */
export interface BoundSql {
  readonly text: string;
  readonly values?: readonly unknown[];
}

/** One text with any number of statements, one statement with values, or a list of both, run in order. */
export type Sql = string | BoundSql | readonly (string | BoundSql)[];

/** What a `sql` task gives to the tasks that need it. */
export interface SqlResult {
  /** Rows that its statements inserted, updated, deleted or merged. */
  readonly rows: number;
  /** The server's command and row count of each statement, in order. */
  readonly statements: readonly { readonly command: string; readonly rows: number }[];
}

/** Either the SQL itself, or a `.sql` file beside the config. */
export interface SqlSource {
  readonly sql?: Sql | ((context: TaskContext) => Sql);
  /**
   * A path from the directory of the config. The file may hold many statements; `:name` is bound to the macro, the
   * param or the value of that name.
   */
  readonly file?: string;
  /** More values for the `:name`s of `file`. */
  readonly values?: (context: TaskContext) => Readonly<Record<string, unknown>>;
}

/** Statements in one transaction. */
export function sqlBody(source: SqlSource): TransactionBody {
  return {
    transactional: true,
    source: async (root) => (source.file === undefined ? textOf(source) : readSqlFile(source.file, root)),
    run: async (work) => runStatements(work, await statementsOf(source, work)),
  };
}

function textOf({ sql }: SqlSource): string {
  return typeof sql === 'function' ? sql.toString() : JSON.stringify(sql);
}

async function statementsOf(source: SqlSource, work: Work): Promise<readonly BoundSql[]> {
  if (source.file !== undefined) return fileStatements(source.file, source, work);
  const sql = typeof source.sql === 'function' ? source.sql(work.context) : source.sql;
  const list: readonly (string | BoundSql)[] = Array.isArray(sql) ? sql : [sql as string | BoundSql];
  return list.map((each) => (typeof each === 'string' ? { text: each } : each));
}

async function fileStatements(file: string, source: SqlSource, work: Work): Promise<readonly BoundSql[]> {
  const values = namedValues(source, work.context);
  const statements = splitStatements(await readSqlFile(file, work.root));
  return statements.map((statement) => bindNamed(statement.text, values));
}

function namedValues(source: SqlSource, context: TaskContext): Readonly<Record<string, unknown>> {
  const { run, interval } = context;
  const macros = macrosOf({
    interval,
    runId: run.id,
    dagId: run.dagId,
    taskId: run.taskId,
    attempt: run.attempt,
  });
  return { ...macros, ...(context.params as object), ...source.values?.(context) };
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

async function runStatements({ wire, context }: Work, statements: readonly BoundSql[]): Promise<SqlResult> {
  const done: { command: string; rows: number }[] = [];
  for (const { text, values } of statements) {
    context.signal.throwIfAborted();
    const answer = await (wire.query({ text, values }) as Promise<QueryResult | QueryResult[]>);
    for (const { command, rowCount } of [answer].flat()) done.push({ command, rows: rowCount ?? 0 });
  }
  return { rows: wire.rowsWritten, statements: done };
}
