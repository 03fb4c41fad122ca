import { relative, resolve, sep } from 'node:path';
import { EtlError } from '../../../errors.js';
import { copyOut } from '../../copy/copy-out.js';
import { createParquetWriter, loadParquetWriter } from './parquet-write.js';
import {
  type CsvOptions,
  type CopyStatement,
  createCsvStatement,
  createNdjsonStatement,
  createParquetStatement,
} from './extract.js';
import { OutputFiles } from './output-files.js';
import { inlineBoundValues } from '../../copy/inline-values.js';
import type { Partition } from './layout.js';
import { type PartOptions, writeParts } from './part-writer.js';
import { RecordSplitter } from './record-splitter.js';
import { type FileKind, type UnloadCompression, type UnloadFormat, chooseFileKind } from './output-target.js';
import { describeWriteError } from './unload-errors.js';
import { createTextWriter } from './writer.js';
import { quoteTable } from '../../sql/quote.js';
import { aStatement, checkReturned, text } from '../option-rule.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import { type TransactionBody, type TaskWork, collectFault, listOptions } from '../task-body.js';
import type { BoundSql } from '../../sql/bind.js';
import type { TaskContext } from '../task-context.js';

/** The options of an unload task that say which rows it reads, and the file that it writes. */
export interface UnloadSource<Context = TaskContext> {
  /** One query, with values for its `$1`, `$2`, …, or a function that returns it. The query can't write. */
  readonly query?: string | BoundSql | ((context: Context) => string | BoundSql);
  /** Instead of `query`: the table (`table` or `schema.table`) whose rows are all unloaded. */
  readonly table?: string;
  /** A path relative to the directory of the config file. Missing directories are created. */
  readonly to: string | ((context: Context) => string);
  /** Default: the format of the extension, such as `.csv`, `.ndjson` or `.parquet`. */
  readonly format?: UnloadFormat;
  /**
   * Default: the compression of the extension, such as `.gz`. In a Parquet file the pages are compressed, by default
   * with Snappy.
   */
  readonly compression?: UnloadCompression;
  /** The format of a CSV file. */
  readonly csv?: CsvOptions;
  /** Splits the rows into several files. Default: one file. */
  readonly partition?: Partition;
}

/** The names of the options of an unload that no other task has. */
const OPTIONS = ['query', 'table', 'to', 'format', 'compression', 'csv', 'partition'];

/** The result of an `unload` task, for the tasks that need it. */
export interface UnloadResult {
  /** The number of rows that the server has sent. */
  readonly rows: number;
  /** The size of all files on the disk, in bytes. */
  readonly bytes: number;
  /** The paths of the files, relative to the directory of the config file, in the order of the rows. */
  readonly files: readonly string[];
}

/**
 * Creates the body of an unload task, which copies rows to a file. The file gets its final name when it is complete,
 * and before the task is committed. No transaction covers a file: if the COMMIT fails, the next attempt replaces the
 * file.
 *
 * Throws `EtlError` ETL-2303 if `to` is a string and does not fit the other options.
 */
export function createUnloadBody(options: UnloadSource): TransactionBody {
  if (typeof options.to === 'string') chooseUnloadKind(options.to, options);
  return {
    transactional: true,
    leavesFiles: true,
    listCode: () => listOptions(options, OPTIONS),
    findFaults: async () => {
      const { to } = options;
      const isParquet = typeof to === 'string' && chooseUnloadKind(to, options).format === 'parquet';
      return isParquet ? collectFault(loadParquetWriter) : [];
    },
    run: (work) => runUnload(options, work),
  };
}

/**
 * Runs one attempt of an unload. Writes the rows to files under temporary names, and renames the files when all of them
 * are complete. If anything fails, removes the temporary files. Throws `EtlError` ETL-3601 for an error of the file system.
 */
async function runUnload(options: UnloadSource, work: TaskWork): Promise<UnloadResult> {
  const { context, root, taskConnection } = work;
  const to = typeof options.to === 'function' ? checkReturned(options.to(context), 'to', text) : options.to;
  const kind = chooseUnloadKind(to, options);
  const { dagId, taskId } = context.run;
  const absolute = resolve(root, to);
  const files = new OutputFiles(absolute, options.partition, `${dagId}/${taskId}`);
  try {
    await files.prepare();
    const rows = await readOnly(taskConnection, async () =>
      writeFiles(await createOutput(options, kind, work), files, work),
    );
    const published = await files.publish(context.signal);
    taskConnection.rows.written += rows;
    return {
      rows,
      bytes: published.reduce((sum, { bytes }) => sum + bytes, 0),
      // With `/` on every operating system.
      files: published.map(({ path }) => relative(root, path).replaceAll(sep, '/')),
    };
  } catch (error) {
    // The error of the task is shown, not an error of the clean-up. The next attempt removes what is left.
    await files.discard().catch(() => undefined);
    throw describeWriteError(to, absolute, error);
  }
}

/**
 * Chooses format and compression of the file `to`, as `chooseFileKind` does. Also throws `EtlError` ETL-2303 if the options
 * have `csv` for a file of another format.
 */
function chooseUnloadKind(to: string, options: UnloadSource): FileKind {
  const kind = chooseFileKind(to, options);
  if (kind.format === 'csv' || options.csv === undefined) return kind;
  throw new EtlError('ETL-2303', {
    what: `\`csv\` is for CSV files, but the format of "${to}" is ${kind.format}`,
    fix: 'remove `csv`, or set `format` to "csv"',
  });
}

/**
 * Runs `read` in a savepoint that can't write. The transaction itself must stay writable for the row of the ledger: when
 * the savepoint is released, PostgreSQL makes the transaction writable again. If `read` throws, the savepoint stays,
 * because the runner rolls back the transaction.
 */
async function readOnly<T>(taskConnection: TaskConnection, read: () => Promise<T>): Promise<T> {
  await taskConnection.query({ text: 'savepoint etl_read; set transaction read only' });
  const result = await read();
  await taskConnection.query({ text: 'release savepoint etl_read' });
  return result;
}

/** A COPY, and how its output becomes files. */
interface Output extends PartOptions {
  readonly text: string;
}

/**
 * Copies the rows to files under temporary names. Returns the number of rows. Throws `EtlError` ETL-3605 if the splitter
 * found another number of rows than the server sent.
 */
async function writeFiles(output: Output, files: OutputFiles, work: TaskWork): Promise<number> {
  const { taskConnection, context, moved } = work;
  const { splitter } = output;
  const copy = copyOut(taskConnection, output.text, {
    signal: context.signal,
    moved: (bytes) => moved({ bytes }),
    isLending: splitter === undefined,
  });
  await writeParts(copy, files, output);
  if (splitter !== undefined && splitter.rows !== copy.rows) {
    throw new EtlError('ETL-3605', {
      what: `the server sent ${copy.rows} rows, but the task found ${splitter.rows} rows in the output`,
      fix: 'report this as a bug, with the query and the options of the task',
      data: 'no file was written',
    });
  }
  moved({ rows: copy.rows });
  return copy.rows;
}

/**
 * Creates the COPY of an unload for the format of the file. The output is split into records for a partition and for a
 * Parquet file. A partition by a column writes no file if there is no row, because it has no value for the directory.
 */
async function createOutput(
  options: UnloadSource,
  { format, compression }: FileKind,
  work: TaskWork,
): Promise<Output> {
  const { partition, csv } = options;
  const { taskConnection } = work;
  const by = partition !== undefined && 'by' in partition ? partition.by : undefined;
  const query = await buildQuery(options, work);
  const toOutput = (
    { text: sql, framing }: CopyStatement,
    createWriter: PartOptions['createWriter'] = async (file) => createTextWriter(file, compression ?? 'none'),
  ): Output => {
    const isSplit = partition !== undefined || format === 'parquet';
    const splitter = isSplit ? new RecordSplitter(framing, partition) : undefined;
    return { text: sql, splitter, createWriter, mayBeEmpty: by === undefined };
  };
  switch (format) {
    case 'csv':
      return toOutput(await createCsvStatement(taskConnection, query, by, csv));
    case 'ndjson':
      return toOutput(await createNdjsonStatement(taskConnection, query, by));
    case 'parquet': {
      const statement = await createParquetStatement(taskConnection, query, by);
      return toOutput(statement, (file) => createParquetWriter(file, statement.columns, compression));
    }
    default:
      return format satisfies never;
  }
}

/** Returns the query of the options with its values as literals, or a query for all rows of `table`. */
async function buildQuery(
  { query, table }: UnloadSource,
  { taskConnection, context }: TaskWork,
): Promise<string> {
  if (table !== undefined) return `select * from ${quoteTable(table)}`;
  const statement =
    typeof query === 'function' ? checkReturned(query(context), 'query', aStatement) : (query ?? '');
  return inlineBoundValues(taskConnection, statement);
}
