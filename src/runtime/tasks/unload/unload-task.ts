import { relative, resolve, sep } from 'node:path';
import { EtlError } from '../../../errors.js';
import { copyOut } from '../../copy/copy-out.js';
import { describeParquetColumns } from './parquet-column.js';
import { createParquetWriter } from './parquet-write.js';
import {
  type CsvOptions,
  type CopyStatement,
  createCsvStatement,
  createNdjsonStatement,
  createTextStatement,
} from './extract.js';
import { OutputFiles } from './output-files.js';
import { inlineBoundValues } from '../../copy/inline-values.js';
import type { Partition } from './layout.js';
import type { OutputFile } from './output-file.js';
import { PartWriter } from './part-writer.js';
import { formatColumn, describeQuery } from './unload-query.js';
import { RecordSplitter } from './record-splitter.js';
import { type FileKind, type UnloadCompression, type UnloadFormat, chooseFileKind } from './output-target.js';
import { describeWriteError } from './unload-errors.js';
import { type RowWriter, createTextWriter } from './writer.js';
import { quoteTable } from '../../sql/quote.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import { type TransactionBody, type TaskWork, describeOptions } from '../task-body.js';
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
    readCode: async () => describeOptions(options),
    run: (work) => runUnload(options, work),
  };
}

async function runUnload(options: UnloadSource, work: TaskWork): Promise<UnloadResult> {
  const { context, root, taskConnection } = work;
  const to = typeof options.to === 'function' ? options.to(context) : options.to;
  const kind = chooseUnloadKind(to, options);
  const { dagId, taskId } = context.run;
  const files = new OutputFiles({
    path: resolve(root, to),
    partition: options.partition,
    owner: `${dagId}/${taskId}`,
  });
  try {
    await files.prepare();
    const rows = await readOnly(taskConnection, async () => writeFiles(options, { work, kind, files }));
    const published = await files.publish(context.signal);
    taskConnection.rows.written += rows;
    return {
      rows,
      bytes: published.reduce((sum, { bytes }) => sum + bytes, 0),
      files: published.map(({ path }) => formatPath(path, root)),
    };
  } catch (error) {
    // The error of the task is shown, not an error of the clean-up. The next attempt removes what is left.
    await files.discard().catch(() => undefined);
    throw describeWriteError(to, error);
  }
}

function chooseUnloadKind(to: string, options: UnloadSource): FileKind {
  const kind = chooseFileKind(to, options);
  if (kind.format === 'csv' || options.csv === undefined) return kind;
  throw new EtlError('ETL-2303', {
    what: `\`csv\` is for CSV files, but the format of "${to}" is ${kind.format}`,
    fix: 'remove `csv`, or set `format` to "csv"',
  });
}

/** Formats a path relative to `root`, with `/` on every operating system. */
function formatPath(path: string, root: string): string {
  return relative(root, path).replaceAll(sep, '/');
}

/** Runs `read` in a savepoint that can't write. The transaction itself must stay writable for the row of the ledger. */
async function readOnly<T>(taskConnection: TaskConnection, read: () => Promise<T>): Promise<T> {
  await taskConnection.query({ text: 'savepoint etl_read; set transaction read only' });
  const result = await read();
  await taskConnection.query({ text: 'release savepoint etl_read' });
  return result;
}

/** What `writeFiles` works with. */
interface OutputRequest {
  readonly work: TaskWork;
  readonly kind: FileKind;
  readonly files: OutputFiles;
}

/** Copies the rows to files under temporary names. Returns the number of rows. */
async function writeFiles(options: UnloadSource, { work, kind, files }: OutputRequest): Promise<number> {
  const { taskConnection, context, moved } = work;
  const query = await buildQuery(options, work);
  const {
    text,
    framing,
    createWriter: writerFor,
  } = await createCopyPlan(query, { options, kind, taskConnection });
  const isSplit = options.partition !== undefined || kind.format === 'parquet';
  const splitter = isSplit ? new RecordSplitter(framing, options.partition) : undefined;
  const mayBeEmpty = options.partition === undefined || !('by' in options.partition);
  const writer = new PartWriter({ files, createWriter: writerFor, splitter, mayBeEmpty });
  try {
    const copy = copyOut(taskConnection, text, {
      signal: context.signal,
      moved: (bytes) => moved({ bytes }),
      isLending: splitter === undefined,
    });
    for await (const chunk of copy) await writer.write(chunk);
    await writer.end();
    if (splitter !== undefined) assertCounted(splitter.rows, copy.rows);
    moved({ rows: copy.rows });
    return copy.rows;
  } catch (error) {
    writer.abandon();
    throw error;
  }
}

async function buildQuery(
  { query, table }: UnloadSource,
  { taskConnection, context }: TaskWork,
): Promise<string> {
  if (table !== undefined) return `select * from ${quoteTable(table)}`;
  return inlineBoundValues(taskConnection, typeof query === 'function' ? query(context) : (query ?? ''));
}

/** A COPY, and the writers for its output. */
interface CopyPlan extends CopyStatement {
  readonly createWriter: (file: OutputFile) => Promise<RowWriter>;
}

async function createCopyPlan(
  query: string,
  {
    options,
    kind,
    taskConnection,
  }: { readonly options: UnloadSource; readonly kind: FileKind; readonly taskConnection: TaskConnection },
): Promise<CopyPlan> {
  const { compression } = kind;
  const by = options.partition !== undefined && 'by' in options.partition ? options.partition.by : undefined;
  const createTextFileWriter = async (file: OutputFile): Promise<RowWriter> =>
    createTextWriter(file, compression ?? 'none');
  switch (kind.format) {
    case 'csv':
      return {
        ...(await createCsvStatement(taskConnection, query, { csv: options.csv ?? {}, by })),
        createWriter: createTextFileWriter,
      };
    case 'ndjson':
      return {
        ...(await createNdjsonStatement(taskConnection, query, by)),
        createWriter: createTextFileWriter,
      };
    case 'parquet': {
      const described = await describeQuery(taskConnection, query);
      const columns = await describeParquetColumns(taskConnection, described);
      const expressions = columns.map(({ name, expression }) => expression(formatColumn(name)));
      return {
        ...createTextStatement(query, described, { expressions, by }),
        createWriter: (file) => createParquetWriter(file, { columns, compression }),
      };
    }
    default:
      return kind.format satisfies never;
  }
}

/** Throws `EtlError` ETL-3605 if the splitter found fewer or more rows than the server counted. */
function assertCounted(found: number, sent: number): void {
  if (found === sent) return;
  throw new EtlError('ETL-3605', {
    what: `the server sent ${sent} rows, but the task found ${found} rows in the output`,
    fix: 'report this as a bug, with the query and the options of the task',
    data: 'no file was written',
  });
}
