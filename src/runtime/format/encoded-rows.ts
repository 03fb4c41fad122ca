import { EtlError, didYouMean } from '../../errors.js';
import {
  type EncodeOptions,
  type Row,
  type WrittenColumn,
  chooseCell,
  chooseEncoder,
  readField,
  readValue,
} from '../copy/encode.js';
import { createDateFormat } from '../postgres/date-text.js';
import type { ValueType } from '../postgres/type-form.js';
import type { InputFile, InputRows } from '../input/input.js';
import { type ColumnPick, pickColumns } from './column-pick.js';
import { inferColumns } from './infer.js';
import { holdsType } from './known-type.js';
import { createValueCheck, type LaterValues } from './later-value.js';
import { type ReadOptions, readRows } from './input-rows.js';
import { restoreTexts } from './row-texts.js';
import { type Transform, transformBatches } from './transform.js';
import { type RowBatch, type RowReader, type InputColumn, SAMPLE_ROWS } from './row-reader.js';

/** Options for reading the rows of an input and preparing them for COPY. */
export interface RowOptions extends Omit<ReadOptions, 'form'> {
  readonly transform?: Transform;
  /** Leaves out the other columns, after `transform`. */
  readonly pick?: ColumnPick;
}

/** The rows of one input, ready for COPY in the text format. */
export interface EncodedRows {
  /** The name of the input, for messages. */
  readonly name: string;
  /**
   * The columns of the rows. Types that the input does not name are inferred from the first rows: a later row may not
   * fit.
   */
  readonly columns: readonly InputColumn[];
  /**
   * Yields the bytes for `copy <table> (<columns>) from stdin`, one batch of rows at a time. Can be read once. `types`
   * has the types of the table's columns by their names. `usesUtcDates` is that of the connection.
   *
   * Throws `EtlError` ETL-3561 if a row has a property that is not a column, ETL-3558 if a value can't be sent, and the
   * errors of `later`, which gets the values that a column of an inferred type does not keep.
   */
  chunks(
    types: ReadonlyMap<string, ValueType>,
    usesUtcDates: boolean,
    later?: LaterValues,
  ): AsyncIterable<Buffer>;
  /**
   * Returns the values of a column in the first rows, as `chunks` would encode them for a column of the type. NULL is
   * `null`. A value that can't be sent is left out: `chunks` reports it.
   */
  sample(name: string, type: ValueType, usesUtcDates: boolean): readonly (string | null)[];
}

/**
 * Reads an input as rows, transforms the rows and encodes them for COPY, in one pass. The steps hand over whole
 * batches, so memory does not grow with the input. This function reads the first rows before it resolves, to know the
 * columns.
 *
 * Resolves to undefined if the input has no row and names no columns. A caller must read the chunks: only this closes the
 * input.
 */
export async function encodeRows(
  input: InputFile | InputRows,
  options: RowOptions = {},
): Promise<EncodedRows | undefined> {
  const { transform, pick } = options;
  const reader = await readRows(input, { ...options, form: transform === undefined ? 'text' : 'value' });
  if (reader === undefined) return undefined;
  const batches = pickColumns(transformBatches(reader.batches, transform), pick);
  const sample = await takeSample(batches);
  const columns = chooseColumns(reader, sample, options);
  if (columns.length === 0) {
    await batches.return(undefined);
    return undefined;
  }
  // `batches` is closed here too: the reading may end while `sample` is yielded.
  const all = async function* (): AsyncGenerator<RowBatch> {
    try {
      yield* sample;
      yield* batches;
    } finally {
      await batches.return(undefined);
    }
  };
  const { strings } = reader;
  return {
    name: reader.name,
    columns,
    chunks: (types, usesUtcDates, later) => {
      const written = columns.map(({ name }) => ({ name, type: types.get(name) }));
      const encoding = { jsonStrings: strings, usesUtcDates };
      return encodeBatches(all(), written, {
        ...encoding,
        check: later && createCheck(later, written, encoding),
      });
    },
    sample: (name, type, usesUtcDates) =>
      formatSample(sample, { name, type }, { jsonStrings: strings, usesUtcDates }),
  };
}

/** Takes batches until they have `SAMPLE_ROWS` rows together, or until the input ends. */
async function takeSample(batches: AsyncGenerator<RowBatch>): Promise<RowBatch[]> {
  const sample: RowBatch[] = [];
  for (let rows = 0; rows < SAMPLE_ROWS;) {
    const next = await batches.next();
    if (next.done === true) break;
    sample.push(next.value);
    rows += next.value.rows.length;
  }
  return sample;
}

/**
 * Returns the columns of the rows, with their types. Without a `transform`, names and types come from the input as far
 * as it has them. Otherwise they are inferred from the sample, but a column of the input keeps the type that the input
 * names while its values have the form of this type.
 */
function chooseColumns(
  reader: RowReader,
  sample: readonly RowBatch[],
  { transform, pick }: RowOptions,
): readonly InputColumn[] {
  const { strings, fractions } = reader;
  const rows = sample.flatMap(restoreTexts).slice(0, SAMPLE_ROWS);
  // A transform may drop and add columns. If it returned no row, the columns of the input are the best guess.
  const isOwn = transform === undefined || rows.length === 0;
  const own = isOwn ? reader.columns?.filter(({ name }) => pick?.keep(name) ?? true) : undefined;
  const known = new Map(reader.columns?.map((column) => [column.name, column.type]));
  const names = own?.map(({ name }) => name);
  const inferred = inferColumns(rows, { strings, ...(fractions && { fractions }), ...(names && { names }) });
  const columns = inferred.map((column): InputColumn => {
    const type = known.get(column.name);
    if (type === undefined) return column;
    const isKept =
      isOwn ||
      holdsType(
        type,
        rows.map((row) => readValue(row, column.name)),
      );
    return isKept ? { name: column.name, type, isNamed: true } : column;
  });
  return sortLikeInput(columns, reader);
}

/**
 * Puts the columns in the order of the input, if JavaScript has changed the order: the properties of an object begin
 * with those that look like whole numbers, such as years. Columns that the input does not have come last.
 */
function sortLikeInput(columns: readonly InputColumn[], reader: RowReader): readonly InputColumn[] {
  if (!columns.some(({ name }) => /^\d+$/.test(name))) return columns;
  const names = reader.names?.() ?? reader.columns?.map(({ name }) => name) ?? [];
  const order = new Map(names.map((name, index) => [name, index]));
  const place = ({ name }: InputColumn): number => order.get(name) ?? names.length;
  return columns.toSorted((one, other) => place(one) - place(other));
}

/** Formats the values of one column for a column of its type, without the escapes of COPY. */
function formatSample(
  sample: readonly RowBatch[],
  { name, type }: WrittenColumn,
  { jsonStrings = 'text', usesUtcDates }: EncodeOptions,
): (string | null)[] {
  const formatCell = chooseCell({ type, jsonStrings, formatDate: createDateFormat(usesUtcDates) });
  return sample.flatMap(restoreTexts).flatMap((row) => {
    try {
      return [readField(formatCell(readValue(row, name)))];
    } catch {
      return [];
    }
  });
}

/**
 * Encodes each batch for COPY. Throws ETL-3561 for a property that is not in `columns`, and ETL-3558, with the location
 * of the row, for a value that can't be sent.
 */
async function* encodeBatches(
  batches: AsyncIterable<RowBatch>,
  columns: readonly WrittenColumn[],
  options: EncodeOptions & { readonly check: BatchCheck | undefined },
): AsyncGenerator<Buffer> {
  const encode = chooseEncoder(columns, options);
  const names = columns.map(({ name }) => name);
  const known = new Set(names);
  for await (const batch of batches) {
    assertKnown(batch, names, known);
    const rows = restoreTexts(batch);
    if (options.check !== undefined) await options.check({ ...batch, rows });
    let bytes: Buffer;
    try {
      bytes = encode(rows);
    } catch (error) {
      throw locateError(error, { ...batch, rows }, encode);
    }
    yield bytes;
  }
}

/** Checks the values of a batch, whose texts are restored. */
type BatchCheck = (batch: RowBatch) => Promise<void>;

/** Returns a function that passes the values that a column does not keep to `later`. */
function createCheck(
  later: LaterValues,
  columns: readonly WrittenColumn[],
  { jsonStrings = 'text', usesUtcDates }: EncodeOptions,
): BatchCheck {
  const checked = later.columns.flatMap(({ name, type }) => {
    const keeps = createValueCheck(type, jsonStrings);
    return keeps === undefined ? [] : [{ name, type, keeps }];
  });
  return async (batch) => {
    const { rows } = batch;
    for (let i = 0; i < rows.length; i++) {
      for (const { name, type, keeps } of checked) {
        const value = readValue(rows[i] as Row, name);
        if (value === null || value === undefined || keeps(value)) continue;
        const written = columns.find((column) => column.name === name);
        const format = chooseCell({
          type: written?.type,
          jsonStrings,
          formatDate: createDateFormat(usesUtcDates),
        });
        await later.refuse({ name, type, text: readField(format(value)) ?? '', where: batch.locateRow(i) });
      }
    }
  };
}

/** Throws ETL-3561 if a row has a property that is not a column: COPY would drop the value silently. */
function assertKnown(batch: RowBatch, columns: readonly string[], known: ReadonlySet<string>): void {
  const { rows } = batch;
  for (let i = 0; i < rows.length; i++) {
    let index = 0;
    for (const name in rows[i]) {
      // Most rows have all columns, in the same order, so most names need no lookup.
      if (name !== columns[index++] && !known.has(name) && rows[i]?.[name] !== undefined)
        throw createUnknownPropertyError(batch.locateRow(i), name, known);
    }
  }
}

/**
 * Creates the error ETL-3561 for the property `name`. `where` is the location of the row, `known` holds the columns.
 */
function createUnknownPropertyError(where: string, name: string, known: ReadonlySet<string>): EtlError {
  return new EtlError('ETL-3561', {
    what: `a row has the property "${name}", which is not a column${didYouMean(name, known)}`,
    where,
    why: `the columns come from the first ${SAMPLE_ROWS} rows: ${[...known].join(', ').slice(0, 200)}`,
    fix: 'remove the property in `transform`, or give one of the first rows this property',
  });
}

/**
 * Adds the location of the row that can't be encoded to an `EtlError` of the encoder. The encoder does not say which
 * row failed, so each row is encoded again, alone, until one fails. Returns other errors as they are.
 */
function locateError(error: unknown, batch: RowBatch, encode: (rows: readonly Row[]) => Buffer): unknown {
  if (!(error instanceof EtlError)) return error;
  const index = batch.rows.findIndex((row) => {
    try {
      encode([row]);
      return false;
    } catch {
      return true;
    }
  });
  const { code, message, why, fix, cause } = error;
  return new EtlError(code, { what: message, where: batch.locateRow(index), why, fix, cause });
}
