import type { CompressionCodec, SchemaElement } from 'hyparquet';
import type { ColumnSource } from 'hyparquet-writer';
import { EtlError } from '../../../errors.js';
import { cutText } from '../../secrets/secrets.js';
import { createCompressor, type Compressor } from './compression.js';
import type { OutputFile } from './output-file.js';
import type { UnloadCompression } from './output-target.js';
import type { RowWriter } from './writer.js';
import type { ParquetColumn } from './parquet-column.js';

/** A row group is written when it has this many rows or this much text. So memory does not grow with the file. */
const GROUP_ROWS = 50_000;
const GROUP_BYTES = 8 * 1024 * 1024;

/**
 * Creates a writer that takes the records of a COPY in the text format and writes them as row groups of a Parquet file.
 * An undefined `compression` means Snappy.
 */
export async function createParquetWriter(
  file: OutputFile,
  columns: readonly ParquetColumn[],
  compression: UnloadCompression | undefined,
): Promise<RowWriter> {
  const library = await loadParquetWriter();
  const bytes = new library.ByteWriter();
  // The `flush` of the library does nothing, so all encoded bytes would stay in memory. This `flush` hands a copy of the
  // bytes to the file, because the library then uses its buffer again.
  const writer = Object.assign(bytes, {
    flush: async (): Promise<void> => {
      await file.write(bytes.getBytes().slice());
      bytes.index = 0;
    },
  });
  const schema: SchemaElement[] = [
    { name: 'root', num_children: columns.length },
    ...columns.map(({ element }) => ({ ...element })),
  ];
  const parquet = new library.ParquetWriter({ writer, schema, ...chooseCodec(compression) });
  const group = new RowGroup(columns);
  return {
    write: async (records) => {
      const lines = records.toString('utf8').split('\n');
      lines.pop(); // The text after the last line break is empty.
      for (const line of lines)
        if (group.add(line)) await parquet.write({ columnData: group.take(), rowGroupSize: GROUP_ROWS });
    },
    end: async () => {
      if (group.rows > 0) await parquet.write({ columnData: group.take(), rowGroupSize: GROUP_ROWS });
      markJsonColumns(schema);
      await parquet.finish();
      await writer.flush();
    },
  };
}

/**
 * Sets the older `converted_type` of JSON columns, because older readers know only this field. Must be called after the
 * last row group: otherwise the library would encode the JSON text as JSON again.
 */
function markJsonColumns(schema: readonly SchemaElement[]): void {
  for (const element of schema) if (element.logical_type?.type === 'JSON') element.converted_type = 'JSON';
}

/** Collects the values of each column until a row group is full. */
class RowGroup {
  readonly #columns: readonly ParquetColumn[];
  #values: unknown[][];
  #size = 0;
  rows = 0;

  constructor(columns: readonly ParquetColumn[]) {
    this.#columns = columns;
    this.#values = columns.map(() => []);
  }

  /** Adds a record: fields with a tab between them, and `\N` for NULL. Returns true if the row group is full. */
  add(line: string): boolean {
    const fields = line.split('\t');
    for (const [index, column] of this.#columns.entries()) {
      const field = fields[index] ?? '';
      this.#values[index]?.push(field === '\\N' ? null : parseField(column, field));
    }
    this.#size += line.length;
    return ++this.rows >= GROUP_ROWS || this.#size >= GROUP_BYTES;
  }

  /** Returns the columns, and begins the next row group. */
  take(): ColumnSource[] {
    const values = this.#values;
    this.#values = this.#columns.map(() => []);
    this.rows = this.#size = 0;
    return this.#columns.map(({ name, element }, index) => ({
      name,
      data: values[index] ?? [],
      // The statistics of JSON columns are large and of no use.
      statistics: element.logical_type?.type !== 'JSON',
    }));
  }
}

/**
 * Parses one field of a record. Throws `EtlError` ETL-3606 if the type in the file has no such value, as NaN in a
 * decimal.
 */
function parseField({ name, parse }: ParquetColumn, field: string): unknown {
  const text = field.includes('\\') ? unescapeField(field) : field;
  try {
    return parse(text);
  } catch {
    // The error of the parser quotes the value.
    throw new EtlError('ETL-3606', {
      what: `a value of the column "${name}" can't be stored in Parquet`,
      why: 'the type of the column in the file has no such value',
      fix: 'cast the column to text or to double precision in the query',
      data: 'no file was written',
      rowData: cutText(text, 60),
    });
  }
}

/** The characters that letters after a backslash stand for. */
const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

/**
 * Replaces the escapes of COPY's text format: a backslash and `t` become a tab, and two backslashes become one.
 * https://www.postgresql.org/docs/current/sql-copy.html lists the escapes that the server writes.
 */
function unescapeField(field: string): string {
  // `[^]` is any character, also a line break.
  return field.replace(/\\([^])/g, (_, character: string) => ESCAPES[character] ?? character);
}

/** Imports hyparquet-writer on first use: it loads slowly, and it is an optional package that the user installs. */
export async function loadParquetWriter() {
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

/** The names of the compressions in Parquet. */
const CODECS = { gzip: 'GZIP', brotli: 'BROTLI', zstd: 'ZSTD' } as const;

/**
 * Chooses the codec of the pages, because in a Parquet file the pages are compressed, not the whole file. The library has
 * Snappy itself and needs no compressor for uncompressed pages. For the other codecs the program passes a compressor.
 */
function chooseCodec(compression: UnloadCompression | undefined): {
  readonly codec: CompressionCodec;
  readonly compressors: Partial<Record<CompressionCodec, Compressor['bytes']>>;
} {
  if (compression === undefined) return { codec: 'SNAPPY', compressors: {} };
  if (compression === 'none') return { codec: 'UNCOMPRESSED', compressors: {} };
  const codec = CODECS[compression];
  return { codec, compressors: { [codec]: createCompressor(compression).bytes } };
}
