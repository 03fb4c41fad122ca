import type { CompressionCodec, SchemaElement } from 'hyparquet';
import type { ColumnSource } from 'hyparquet-writer';
import { EtlError } from '../../../errors.js';
import { createCompressor, type Compressor } from './compression.js';
import type { OutputFile } from './output-file.js';
import type { UnloadCompression } from './output-target.js';
import type { RowWriter } from './writer.js';
import type { ParquetColumn } from './parquet-column.js';

/** A row group is written when it has this many rows or this much text. So memory does not grow with the file. */
const GROUP_ROWS = 50_000;
const GROUP_BYTES = 8 * 1024 * 1024;

/** The columns of a Parquet file, and the compression of its pages. Undefined means Snappy. */
export interface ParquetPlan {
  readonly columns: readonly ParquetColumn[];
  readonly compression: UnloadCompression | undefined;
}

/**
 * Creates a writer that takes the records of a COPY in the text format and writes them as row groups of a Parquet file.
 */
export async function createParquetWriter(file: OutputFile, plan: ParquetPlan): Promise<RowWriter> {
  const library = await loadLibrary();
  const bytes = new library.ByteWriter();
  // The `flush` of the library does nothing, so all encoded bytes would stay in memory.
  const writer = Object.assign(bytes, {
    flush: async (): Promise<void> => {
      await file.write(bytes.getBytes().slice());
      bytes.index = 0;
    },
  });
  const { codec, compressors } = chooseCodec(plan.compression);
  const schema: SchemaElement[] = [
    { name: 'root', num_children: plan.columns.length },
    ...plan.columns.map(({ element }) => ({ ...element })),
  ];
  const parquet = new library.ParquetWriter({ writer, schema, codec, compressors });
  return new RowGroupWriter(plan.columns, {
    write: async (columnData) => parquet.write({ columnData, rowGroupSize: GROUP_ROWS }),
    finish: async () => {
      markJsonColumns(schema);
      await parquet.finish();
      await writer.flush();
    },
  });
}

/**
 * Sets the older `converted_type` of JSON columns, because older readers know only this field. Must be called after the
 * last row group: otherwise the library would encode the JSON text as JSON again.
 */
function markJsonColumns(schema: readonly SchemaElement[]): void {
  for (const element of schema) if (element.logical_type?.type === 'JSON') element.converted_type = 'JSON';
}

/** A Parquet file that is written one row group at a time. */
interface ParquetFile {
  write(columns: ColumnSource[]): Promise<void>;
  finish(): Promise<void>;
}

/** Collects the values of each column until a row group is full. */
class RowGroupWriter implements RowWriter {
  readonly #columns: readonly ParquetColumn[];
  readonly #file: ParquetFile;
  #values: unknown[][];
  #rows = 0;
  #size = 0;

  constructor(columns: readonly ParquetColumn[], file: ParquetFile) {
    this.#columns = columns;
    this.#file = file;
    this.#values = columns.map(() => []);
  }

  async write(records: Buffer): Promise<void> {
    const lines = records.toString('utf8').split('\n');
    lines.pop(); // The text after the last line break is empty.
    for (const line of lines) {
      this.#add(line.split('\t'));
      this.#size += line.length;
      if (++this.#rows >= GROUP_ROWS || this.#size >= GROUP_BYTES) await this.#writeGroup();
    }
  }

  async end(): Promise<void> {
    if (this.#rows > 0) await this.#writeGroup();
    await this.#file.finish();
  }

  abandon(): void {
    this.#values = [];
  }

  #add(fields: readonly string[]): void {
    for (const [index, column] of this.#columns.entries()) {
      const field = fields[index] ?? '';
      this.#values[index]?.push(field === '\\N' ? null : parseField(column, field));
    }
  }

  async #writeGroup(): Promise<void> {
    await this.#file.write(
      this.#columns.map(({ name, element }, index) => ({
        name,
        data: this.#values[index] ?? [],
        // The statistics of JSON columns are large and of no use.
        statistics: element.logical_type?.type !== 'JSON',
      })),
    );
    this.#values = this.#columns.map(() => []);
    this.#rows = this.#size = 0;
  }
}

/**
 * Parses one field of a record. Throws `EtlError` ETL-3606 if the type in the file has no such value, as NaN in a
 * decimal.
 */
function parseField({ name, parse: read }: ParquetColumn, field: string): unknown {
  const text = field.includes('\\') ? unescapeField(field) : field;
  try {
    return read(text);
  } catch (cause) {
    throw new EtlError('ETL-3606', {
      what: `the value ${text.slice(0, 60)} of the column "${name}" can't be stored in Parquet`,
      why: 'the type of the column in the file has no such value',
      fix: 'cast the column to text or to double precision in the query',
      data: 'no file was written',
      cause,
    });
  }
}

const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

/**
 * Replaces the escapes of COPY's text format. https://www.postgresql.org/docs/current/sql-copy.html lists what the
 * server writes.
 */
function unescapeField(field: string): string {
  return field.replace(/\\([^])/g, (_, character: string) => ESCAPES[character] ?? character);
}

/** Imports hyparquet-writer on first use: it loads slowly, and it is an optional package that the user installs. */
async function loadLibrary() {
  try {
    return await import('hyparquet-writer');
  } catch (cause) {
    throw new EtlError('ETL-3603', {
      what: 'a Parquet file needs the package hyparquet-writer',
      why: (cause as NodeJS.ErrnoException).code,
      fix: 'run `npm install hyparquet hyparquet-writer`',
      data: 'no file was written',
      cause,
    });
  }
}

const CODECS = { gzip: 'GZIP', brotli: 'BROTLI', zstd: 'ZSTD' } as const;

/** Chooses the codec of the pages. In a Parquet file the pages are compressed, not the whole file. */
function chooseCodec(compression: UnloadCompression | undefined): {
  readonly codec: CompressionCodec;
  readonly compressors: Partial<Record<CompressionCodec, Compressor['bytes']>>;
} {
  if (compression === undefined) return { codec: 'SNAPPY', compressors: {} };
  if (compression === 'none') return { codec: 'UNCOMPRESSED', compressors: {} };
  const codec = CODECS[compression];
  return { codec, compressors: { [codec]: createCompressor(compression).bytes } };
}
