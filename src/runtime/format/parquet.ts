import type * as Module from 'hyparquet';
import type { AsyncBuffer, ColumnData, Compressors, FileMetaData } from 'hyparquet';
import { open } from 'node:fs/promises';
import * as zlib from 'node:zlib';
import { describeThrown, EtlError } from '../../errors.js';
import { assertUnchanged } from '../input/disk.js';
import type { DiskFile, InputFile } from '../input/input.js';
import { mayBeRewritten } from '../postgres/exact-json.js';
import { type ParquetReading, prepareSchema } from './parquet-schema.js';
import { readUtf8 } from './parquet-value.js';
import type { JsonRowForm } from './json-row.js';
import { createRowMaker } from './row-maker.js';
import type { RowBatch, RowReader, RowTexts } from './row-reader.js';

type Hyparquet = typeof Module;

const BATCH_ROWS = 1000;
/** The codecs that hyparquet reads by itself. It needs a decompressor for every other codec. */
const READ_BY_HYPARQUET: ReadonlySet<string> = new Set(['UNCOMPRESSED', 'SNAPPY']);

/**
 * Opens a Parquet file as rows with the package `hyparquet`, which the user installs. The column types come from the
 * file. 64-bit integers become `bigint`, decimals `ExactNumber`, dates and times text with all digits. Reading needs
 * memory for one row group at a time.
 *
 * Throws `EtlError` ETL-3557 if a package is missing, if the input is not an uncompressed file on the disk (Parquet is
 * read from its end), or if the file can't be read as Parquet.
 */
export async function openParquet(file: InputFile, form: JsonRowForm): Promise<RowReader> {
  const hyparquet = await loadHyparquet();
  const buffer = openDiskBuffer(file);
  const stored = await runGuarded(file.name, () =>
    hyparquet.parquetMetadataAsync(buffer, { geoparquet: false }),
  );
  const { columns, metadata } = prepareSchema(file.name, hyparquet.parquetSchema(stored), stored, form);
  const compressors = await loadCompressors(file.name, metadata);
  return {
    name: file.name,
    columns: columns.map(({ name, type }) => ({ name, type })),
    strings: 'value',
    batches: readRowBatches({ file, hyparquet, buffer, metadata, compressors, form }, columns),
  };
}

/** An open Parquet file, and the parts of hyparquet that read it. */
interface Reading {
  readonly file: InputFile;
  readonly hyparquet: Hyparquet;
  readonly buffer: AsyncBuffer;
  readonly metadata: FileMetaData;
  readonly compressors: Compressors;
  readonly form: JsonRowForm;
}

/** Yields the rows of the file in batches of `BATCH_ROWS`. Holds the columns of one row group in memory at a time. */
async function* readRowBatches(
  reading: Reading,
  columns: readonly ParquetReading[],
): AsyncGenerator<RowBatch> {
  const make = createRowMaker<unknown>(columns.map(({ name }) => name));
  const jsonIndexes = columns.flatMap(({ isJson }, index) => (isJson ? [index] : []));
  const keepsTexts = reading.form === 'value' && jsonIndexes.length > 0;
  /** The number of rows in the row groups before. */
  let before = 0;
  for (const group of reading.metadata.row_groups) {
    const rows = Number(group.num_rows);
    const stored = await readGroup(reading, before, before + rows);
    const parts = columns.map(({ key }) => stored.get(key));
    for (let from = 0; from < rows; from += BATCH_ROWS) {
      const first = before + from;
      const locateRow = (index: number): string => `${reading.file.name}, row ${first + index + 1}`;
      const batch: RowBatch['rows'][number][] = [];
      const texts: RowTexts[] = [];
      for (let i = from; i < Math.min(rows, from + BATCH_ROWS); i++) {
        const fields = columns.map((column, index) =>
          readField(column, parts[index]?.[i], locateRow, i - from),
        );
        batch.push(make(fields));
        if (keepsTexts)
          texts.push(
            jsonIndexes.flatMap((index) => findJsonText(columns[index]?.name ?? '', parts[index]?.[i])),
          );
      }
      yield { rows: batch, ...(keepsTexts && { texts }), locateRow };
    }
    before += rows;
  }
}

/**
 * Reads one value of the row at `index`. Throws ETL-3557, which names the column, for a stored value that is not of its
 * type.
 */
function readField(
  { name, read }: ParquetReading,
  stored: unknown,
  locateRow: RowBatch['locateRow'],
  index: number,
): unknown {
  if (stored === null || stored === undefined) return null;
  try {
    return read(stored);
  } catch (error) {
    throw new EtlError('ETL-3557', {
      what: `a value of the column "${name}" can't be read`,
      where: locateRow(index),
      why: describeThrown(error),
      cause: error,
    });
  }
}

/** Returns the text of a JSON value with the name of its column. Returns nothing for NULL. */
function findJsonText(name: string, stored: unknown): RowTexts {
  if (!(stored instanceof Uint8Array)) return [];
  const text = readUtf8(stored);
  return text === 'null' || mayBeRewritten(text) ? [[name, text]] : [];
}

/**
 * Reads the rows from `rowStart` up to but not including `rowEnd`, which are one row group. Returns the stored values
 * of each column as one array, by the name of the column. Throws ETL-3557 if the file can't be read.
 */
async function readGroup(
  { file, hyparquet, buffer, metadata, compressors }: Reading,
  rowStart: number,
  rowEnd: number,
): Promise<ReadonlyMap<string, ArrayLike<unknown>>> {
  const chunks = new Map<string, ColumnData[]>();
  await runGuarded(file.name, () =>
    hyparquet.parquetRead({
      file: buffer,
      metadata,
      compressors,
      rowStart,
      rowEnd,
      utf8: false,
      geoparquet: false,
      parsers: {
        // Every reader of text gets `undefined` for NULL.
        stringFromBytes: (bytes) => (bytes as Uint8Array | undefined) && readUtf8(bytes),
        // hyparquet always converts INT96 timestamps to nanoseconds. All other types come as they are stored.
        timestampFromNanoseconds: (nanos) => nanos,
      },
      onChunk: (chunk) => {
        const list = chunks.get(chunk.columnName);
        if (list === undefined) chunks.set(chunk.columnName, [chunk]);
        else list.push(chunk);
      },
    }),
  );
  return new Map([...chunks].map(([name, list]) => [name, joinColumnChunks(list, rowStart, rowEnd)]));
}

/**
 * Joins the chunks of one column to one array, whose index 0 is the row `rowStart`. A single chunk that begins at
 * `rowStart` is returned without a copy.
 */
function joinColumnChunks(
  chunks: readonly ColumnData[],
  rowStart: number,
  rowEnd: number,
): ArrayLike<unknown> {
  const [first] = chunks;
  if (chunks.length === 1 && first?.rowStart === rowStart) return first.columnData as ArrayLike<unknown>;
  const values: unknown[] = Array.from({ length: rowEnd - rowStart });
  for (const { columnData, rowStart: start } of chunks) {
    const data = columnData as ArrayLike<unknown>;
    for (let i = 0; i < data.length; i++) values[start - rowStart + i] = data[i];
  }
  return values;
}

/**
 * Returns the file in the form in which hyparquet reads parts of it. Throws ETL-3557 unless the file is on the disk and
 * uncompressed.
 */
function openDiskBuffer({ name, stored }: InputFile): AsyncBuffer {
  if (stored === undefined) {
    throw new EtlError('ETL-3557', {
      what: `"${name}" can't be read as Parquet, because it is not an uncompressed file on the disk`,
      why: 'Parquet is read from the end of the file',
      fix: 'download or decompress the file first',
    });
  }
  const byteLength = Number(stored.state.size);
  return { byteLength, slice: (start, end = byteLength) => readSlice(stored, start, end) };
}

/**
 * Reads the bytes from `start` up to but not including `end`. Opens and closes the file each time. Throws `EtlError`
 * ETL-3571 if the file is no longer as the load found it.
 */
async function readSlice(stored: DiskFile, start: number, end: number): Promise<ArrayBuffer> {
  const file = await open(stored.path);
  try {
    const bytes = new Uint8Array(end - start);
    let at = 0;
    for (let isAtEnd = false; at < bytes.length && !isAtEnd;) {
      const { bytesRead } = await file.read(bytes, { offset: at, position: start + at });
      isAtEnd = bytesRead === 0;
      at += bytesRead;
    }
    await assertUnchanged(stored, file);
    if (at < bytes.length) throw new Error(`the file ends before byte ${end}`);
    return bytes.buffer;
  } finally {
    await file.close();
  }
}

/** Loads the package `hyparquet`. Throws ETL-3557 if the package is not installed. */
export async function loadHyparquet(): Promise<Hyparquet> {
  try {
    return await import('hyparquet');
  } catch (error) {
    throw createMissingPackageError('hyparquet', 'to read Parquet files', error);
  }
}

/**
 * Returns the decompressors that the file needs: those of Node.js, and those of the package `hyparquet-compressors` if
 * Node.js lacks the codec of a column, such as LZ4. No package is loaded for UNCOMPRESSED and SNAPPY, which hyparquet
 * reads without a decompressor.
 *
 * Throws ETL-3557 if the package is needed and not installed. `name` is the name of the file, for messages.
 */
async function loadCompressors(name: string, { row_groups: groups }: FileMetaData): Promise<Compressors> {
  const codecs = new Set(groups.flatMap(({ columns }) => columns.map(({ meta_data: meta }) => meta?.codec)));
  // Node.js has zstd since 22.15.
  const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (input: Uint8Array) => Buffer };
  const own: Compressors = {
    GZIP: (input) => zlib.gunzipSync(input),
    BROTLI: (input) => zlib.brotliDecompressSync(input),
    ...(zstdDecompressSync === undefined ? {} : { ZSTD: zstdDecompressSync }),
  };
  const lacking = [...codecs].find(
    (codec) => codec !== undefined && !READ_BY_HYPARQUET.has(codec) && !(codec in own),
  );
  if (lacking === undefined) return own;
  try {
    const { compressors } = await import('hyparquet-compressors');
    return { ...compressors, ...own };
  } catch (error) {
    throw createMissingPackageError(
      'hyparquet-compressors',
      `to read "${name}", which is compressed by ${lacking}`,
      error,
    );
  }
}

/**
 * Creates the error ETL-3557 for a package that the user has to install. Returns `cause` unchanged if the import failed
 * for another reason.
 */
function createMissingPackageError(name: string, purpose: string, cause: unknown): unknown {
  if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') return cause;
  return new EtlError('ETL-3557', {
    what: `the package ${name} is needed ${purpose}, but it is not installed`,
    fix: `npm install ${name}`,
    cause,
  });
}

/** Runs `read`. Turns every error into ETL-3557, because hyparquet throws plain errors for a wrong file. */
async function runGuarded<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof EtlError) throw error;
    throw new EtlError('ETL-3557', {
      what: `"${name}" can't be read as Parquet`,
      why: describeThrown(error),
      fix: 'check that the file is complete, or set `format` if the file is not Parquet',
      cause: error,
    });
  }
}
