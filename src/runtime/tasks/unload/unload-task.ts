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

/** Rows of the database, and the file that they go to. */
export interface UnloadSource<Context = TaskContext> {
  /** One query; values are for its `$1`, `$2`, …. It can read and not write. */
  readonly query?: string | BoundSql | ((context: Context) => string | BoundSql);
  /** All rows of `table` or `schema.table`, instead of a query. */
  readonly table?: string;
  /** A path from the directory of the config. Directories that are not there are made. */
  readonly to: string | ((context: Context) => string);
  /** Default: what the name ends in, such as `.csv`, `.ndjson`, `.parquet`. */
  readonly format?: UnloadFormat;
  /** Default: what the name ends in, such as `.gz`. In a Parquet file it is that of the pages: Snappy, when none is said. */
  readonly compression?: UnloadCompression;
  readonly csv?: CsvOptions;
  /** Several files instead of one. */
  readonly partition?: Partition;
}

/** What an `unload` task gives to the tasks that need it. */
export interface UnloadResult {
  /** As many as the server has sent. */
  readonly rows: number;
  /** Of all files on the disk. */
  readonly bytes: number;
  /** Their paths from the directory of the config, in the order of their rows. */
  readonly files: readonly string[];
}

/**
 * Rows to a file by COPY. The file is complete under its own name before the task is committed, and never half there. A
 * file is in no transaction: when the COMMIT after it is lost, the task runs again and replaces it. Throws `EtlError`
 * ETL-2303 for a path that does not go with the format.
 */
export function createUnloadBody(source: UnloadSource): TransactionBody {
  if (typeof source.to === 'string') chooseUnloadKind(source.to, source);
  return {
    transactional: true,
    leavesFiles: true,
    readCode: async () => describeOptions(source),
    run: (work) => runUnload(source, work),
  };
}

async function runUnload(source: UnloadSource, work: TaskWork): Promise<UnloadResult> {
  const { context, root, taskConnection } = work;
  const to = typeof source.to === 'function' ? source.to(context) : source.to;
  const kind = chooseUnloadKind(to, source);
  const { dagId, taskId } = context.run;
  const files = new OutputFiles({
    path: resolve(root, to),
    partition: source.partition,
    owner: `${dagId}/${taskId}`,
  });
  try {
    await files.prepare();
    const rows = await readOnly(taskConnection, async () => writeFiles(source, { work, kind, files }));
    const published = await files.publish(context.signal);
    taskConnection.rows.written += rows;
    return {
      rows,
      bytes: published.reduce((sum, { bytes }) => sum + bytes, 0),
      files: published.map(({ path }) => formatPath(path, root)),
    };
  } catch (error) {
    // The error of the task is the one to show; what is left now, the next attempt removes.
    await files.discard().catch(() => undefined);
    throw describeWriteError(to, error);
  }
}

function chooseUnloadKind(to: string, source: UnloadSource): FileKind {
  const kind = chooseFileKind(to, source);
  if (kind.format === 'csv' || source.csv === undefined) return kind;
  throw new EtlError('ETL-2303', {
    what: `\`csv\` is for CSV files, and "${to}" is ${kind.format}`,
    fix: 'remove it, or say `format`',
  });
}

/** With `/` on every system. */
function formatPath(path: string, root: string): string {
  return relative(root, path).replaceAll(sep, '/');
}

/** The ledger's row is written in the same transaction: only what is done inside the savepoint can't write. */
async function readOnly<T>(taskConnection: TaskConnection, read: () => Promise<T>): Promise<T> {
  await taskConnection.query({ text: 'savepoint etl_read; set transaction read only' });
  const result = await read();
  await taskConnection.query({ text: 'release savepoint etl_read' });
  return result;
}

interface OutputRequest {
  readonly work: TaskWork;
  readonly kind: FileKind;
  readonly files: OutputFiles;
}

async function writeFiles(source: UnloadSource, { work, kind, files }: OutputRequest): Promise<number> {
  const { taskConnection, context, moved } = work;
  const query = await buildQuery(source, work);
  const {
    text,
    framing,
    createWriter: writerFor,
  } = await createCopyPlan(query, { source, kind, taskConnection });
  const isSplit = source.partition !== undefined || kind.format === 'parquet';
  const splitter = isSplit ? new RecordSplitter(framing, source.partition) : undefined;
  const mayBeEmpty = source.partition === undefined || !('by' in source.partition);
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

interface CopyPlan extends CopyStatement {
  readonly createWriter: (file: OutputFile) => Promise<RowWriter>;
}

async function createCopyPlan(
  query: string,
  {
    source,
    kind,
    taskConnection,
  }: { readonly source: UnloadSource; readonly kind: FileKind; readonly taskConnection: TaskConnection },
): Promise<CopyPlan> {
  const { compression } = kind;
  const by = source.partition !== undefined && 'by' in source.partition ? source.partition.by : undefined;
  const createTextFileWriter = async (file: OutputFile): Promise<RowWriter> =>
    createTextWriter(file, compression ?? 'none');
  switch (kind.format) {
    case 'csv':
      return {
        ...(await createCsvStatement(taskConnection, query, { csv: source.csv ?? {}, by })),
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

/** The server has counted them, too. */
function assertCounted(found: number, sent: number): void {
  if (found === sent) return;
  throw new EtlError('ETL-3605', {
    what: `${sent} rows were sent, and ${found} were found in what came`,
    fix: 'report it, with the query and the options of the task',
    data: 'no file was written',
  });
}
