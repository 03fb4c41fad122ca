import type { QueryResult } from 'pg';
import type { EtlError } from '../../errors.js';
import { createMacros, listMacroNames } from '../interval/macros.js';
import type { BoundSql } from '../sql/bind.js';
import { splitStatements } from '../sql/split.js';
import { type BoundFileStatement, bindFile, findFileFaults, readSqlFile } from './sql-file.js';
import {
  type IncrementalRange,
  type SqlIncremental,
  prepareHighWatermark,
  findIncrementalRange,
} from '../watermark/incremental.js';
import { type DagFacts, type TaskWork, type TransactionBody, collectFault } from './task-body.js';
import { aStatementOrList, checkReturned } from './option-rule.js';
import type { TransactionContext } from './task-context.js';

/**
 * The SQL of a task: a text with any number of statements, one statement with values, or a list of both. A list runs in
 * order.
 */
export type Sql = string | BoundSql | readonly (string | BoundSql)[];

/** The result of a `sql` task, for the tasks that need it. */
export interface SqlResult {
  /** The number of rows that all statements inserted, updated, deleted or merged. */
  readonly rows: number;
  /** The command tag of the server and its row count, for each statement in order. */
  readonly statements: readonly { readonly command: string; readonly rows: number }[];
}

/** The context that the functions of a sql task get. `incremental` is undefined if the task is not incremental. */
export type SqlContext = TransactionContext & { readonly incremental: IncrementalRange | undefined };

/** The options of a sql task that say what it runs: either `sql` or `file`. */
export interface SqlSource {
  /** The SQL, or a function that returns it. The function is called once an attempt. */
  readonly sql?: Sql | ((context: SqlContext) => Sql | Promise<Sql>);
  /**
   * The path of a `.sql` file, relative to the directory of the config file. The file can hold many statements. A
   * `:name` in it is bound to the macro, the param or the entry of `values` with this name. In an incremental task
   * `:low` and `:high` are the bounds of the range, and `:full_refresh` is true in a full refresh.
   */
  readonly file?: string;
  /** Returns more values for the names in `file`. They win over macros and params of the same name. */
  readonly values?: (context: SqlContext) => Readonly<Record<string, unknown>>;
  /** Lets the statements read only a range of rows: from the end of the last run up to the high watermark. */
  readonly incremental?: SqlIncremental;
}

/**
 * Creates the body of a `sql` task: statements that run in one transaction. The body of an
 * incremental task also finds a high watermark.
 */
export function createSqlBody(options: SqlSource): TransactionBody {
  const { incremental, file, sql } = options;
  const body: TransactionBody = {
    transactional: true,
    listCode: () => ({ 'its SQL': sql, 'its `values`': options.values, 'its `incremental`': incremental }),
    ...(file === undefined
      ? {}
      : { readFiles: async (root) => ({ [file]: (await readSqlFile(file, root)).text }) }),
    findFaults: (facts) => findSqlFaults(options, facts),
    run: async (work) => runStatements(work, await createStatements(options, work)),
  };
  if (incremental === undefined) return body;
  const findHighWatermark: TransactionBody['findHighWatermark'] = ({ client, signal }) =>
    prepareHighWatermark(client, incremental, { source: incremental, signal });
  const { table, cursor, timeZone } = incremental;
  const reads = table === undefined ? {} : { reads: { table, cursor, timeZone } };
  return { ...body, ...reads, findHighWatermark };
}

/** Finds the faults of a file, and of the SQL texts that are known before a run. */
async function findSqlFaults(
  { file, sql, values, incremental }: SqlSource,
  { root, paramNames }: DagFacts,
): Promise<readonly EtlError[]> {
  if (file === undefined) {
    const texts = (Array.isArray(sql) ? sql : [sql]).filter((each) => typeof each === 'string');
    return (await Promise.all(texts.map((text) => collectFault(async () => splitStatements(text))))).flat();
  }
  const range = incremental === undefined ? [] : RANGE_NAMES;
  // The names that the user's function returns are known only when the function is called.
  const isKnown = values === undefined && paramNames !== undefined;
  return findFileFaults(file, root, isKnown ? [...listMacroNames(), ...paramNames, ...range] : undefined);
}

/** The names of the bounds of a range, which an incremental task binds. */
const RANGE_NAMES = ['low', 'high', 'full_refresh'];

/**
 * Returns the statements of one attempt with their values. Splits a file into single statements, because a statement with
 * values must be sent alone. A text without values may hold several statements, and the server splits it.
 */
async function createStatements(
  options: SqlSource,
  work: TaskWork,
): Promise<readonly (BoundSql & Partial<BoundFileStatement>)[]> {
  const context = await createContext(options, work);
  if (options.file !== undefined)
    return bindFile(await readSqlFile(options.file, work.root), collectNamedValues(options, context));
  const sql =
    typeof options.sql === 'function'
      ? checkReturned(await options.sql(context), 'sql', aStatementOrList)
      : options.sql;
  const list: readonly (string | BoundSql)[] = Array.isArray(sql) ? sql : [sql as string | BoundSql];
  return list.map((each) => (typeof each === 'string' ? { text: each } : each));
}

/** Creates the context for the user's functions. Moves the watermark of an incremental task to the end of its range. */
async function createContext({ incremental }: SqlSource, work: TaskWork): Promise<SqlContext> {
  const { context, watermarks, taskConnection, highWatermark } = work;
  if (incremental === undefined || highWatermark === undefined)
    return { ...context, watermark: watermarks.open, incremental: undefined };
  const reading = { taskConnection, watermarks, log: context.log };
  const range = await findIncrementalRange(incremental, highWatermark, reading);
  return { ...context, watermark: watermarks.open, incremental: range };
}

/**
 * Collects the values for the names in a SQL file. A later group wins if two groups have the same name: macros, params,
 * the bounds of the range, and the values that the user's function returns.
 */
function collectNamedValues(options: SqlSource, context: SqlContext): Readonly<Record<string, unknown>> {
  const { run, interval, incremental } = context;
  const range = incremental && {
    low: incremental.low,
    high: incremental.high,
    full_refresh: run.fullRefresh,
  };
  const macros = createMacros(interval, run);
  return { ...macros, ...(context.params as object), ...range, ...options.values?.(context) };
}

/** Runs the statements in order and returns the result of the task. Throws the reason of the task's signal if it aborts. */
async function runStatements(
  { taskConnection, context }: TaskWork,
  statements: readonly (BoundSql & Partial<BoundFileStatement>)[],
): Promise<SqlResult> {
  const results: { command: string; rows: number }[] = [];
  for (const { text, values, locate } of statements) {
    context.signal.throwIfAborted();
    try {
      const answer = await (taskConnection.query({ text, values }) as Promise<QueryResult | QueryResult[]>);
      // pg returns an array of results if the text held several statements, otherwise one result.
      for (const { command, rowCount } of [answer].flat()) results.push({ command, rows: rowCount ?? 0 });
    } catch (error) {
      throw locate?.(error) ?? error;
    }
  }
  return { rows: taskConnection.rows.written, statements: results };
}
