import { recordAt, type CsvSyntax } from '../../format/csv-record.js';
import { decodeLoosely } from '../../format/decode.js';
import { keepsEveryText, keepsText, type LaterValues } from '../../format/later-value.js';
import { getTextPattern } from '../../format/text-type.js';
import type { RecordFormat } from './feed.js';
import { type Batch, BatchCutter, getRow } from './record-batches.js';

/** A CSV file that the server parses. */
export interface CsvRecords {
  /** The name of the file, for messages. */
  readonly name: string;
  /** The columns, in the order of the fields. */
  readonly names: readonly string[];
  readonly syntax: CsvSyntax;
  readonly records: RecordFormat;
}

/**
 * Yields the chunks of a CSV file unchanged, and passes the values that a column of an inferred type does not keep to
 * `later`. One regular expression matches a usual record up to its last column of such a type; only another record is
 * parsed.
 */
export async function* checkLaterRecords(
  chunks: AsyncIterable<Buffer>,
  file: CsvRecords,
  later: LaterValues,
): AsyncGenerator<Buffer> {
  const types = new Map(later.columns.map(({ name, type }) => [name, type]));
  const fields = file.names.map((name) => types.get(name) ?? 'text');
  const pattern = buildRecordPattern(fields, file.syntax);
  if (pattern === undefined) {
    yield* chunks;
    return;
  }
  const cutter = new BatchCutter(file.records);
  const check = async (batch: Batch | undefined): Promise<void> => {
    if (batch === undefined) return;
    const text = batch.bytes.toString('latin1');
    for (let i = 0, start = 0; i < batch.ends.length; start = batch.ends[i++] as number) {
      pattern.lastIndex = start;
      if (!pattern.test(text)) await checkRecord(batch, i, fields, { file, later });
    }
  };
  for await (const chunk of chunks) {
    await check(cutter.cut(chunk));
    yield chunk;
  }
  await check(cutter.takeRest());
}

/** Parses one record, and passes its values to `later`. A record that the server refuses is left to the server. */
async function checkRecord(
  batch: Batch,
  index: number,
  types: readonly string[],
  { file, later }: { readonly file: CsvRecords; readonly later: LaterValues },
): Promise<void> {
  const { name, names, syntax, records } = file;
  const text = decodeLoosely(getRow(batch, index), records.encoding);
  const record = recordAt(text, 0, { ...syntax, eol: batch.eol, isLast: true });
  if (record?.problem !== undefined || record?.fields.length !== names.length) return;
  for (const [i, field] of record.fields.entries()) {
    const type = types[i] as string;
    if (field === null || keepsText(type, field)) continue;
    const where = `${name}, line ${batch.lineOf(index)}`;
    await later.refuse({ name: names[i] as string, type, text: field, where });
  }
}

/**
 * Builds a regular expression that matches the beginning of a record, up to the last field that has to be checked, if the
 * record has no line break in quotes and each of these fields is NULL or surely a text of its type. The expression is for
 * bytes as Latin-1. Returns undefined if no field has to be checked.
 */
function buildRecordPattern(types: readonly string[], syntax: CsvSyntax): RegExp | undefined {
  const last = types.findLastIndex((type) => !keepsEveryText(type));
  if (last === -1) return undefined;
  const [delimiter, quote] = [escape(syntax.delimiter), escape(syntax.quote)];
  const inQuotes = `[^${quote}${escape(syntax.escape)}\\r\\n]*`;
  const any = `(?:[^${delimiter}${quote}\\r\\n]*|${quote}${inQuotes}${quote})`;
  // The other texts that mean NULL are for the parser, which knows the encoding of the file.
  const nothing = isAscii(syntax.null) ? `|${escape(syntax.null)}` : '';
  const fields = types.slice(0, last + 1).map((type) => {
    if (keepsEveryText(type)) return any;
    const own = getTextPattern(type) ?? '(?!)';
    return `(?:${own}|${quote}(?:${own})${quote}${nothing})`;
  });
  return new RegExp(`${fields.join(delimiter)}(?:[${delimiter}\\r\\n]|$)`, 'y');
}

/** Writes each character as an escape of a regular expression, also for use in a class. */
function escape(text: string): string {
  return Array.from({ length: text.length }, (_, i) => {
    return `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`;
  }).join('');
}

function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}
