import type { Row } from '../copy/encode.js';
import { parseExact } from '../postgres/exact-json.js';
import { ExactNumber, JsonText, buildJson } from '../postgres/exact-number.js';
import type { RowBatch, RowTexts } from './row-reader.js';

/** Returns the rows of a batch, in which each value that has a text and was not changed is replaced by its text. */
export function restoreTexts({ rows, texts }: RowBatch): readonly Row[] {
  if (texts === undefined) return rows;
  return rows.map((row, index) => restoreRow(row, texts[index]));
}

/** Returns a copy of a row with the texts of its values, or the row itself. An object of a class keeps its values. */
function restoreRow(row: Row, texts: RowTexts | undefined): Row {
  if (texts === undefined || Object.getPrototypeOf(row) !== Object.prototype) return row;
  const own: Record<string, unknown> = { ...row };
  for (const [name, text] of texts) {
    if (!Object.hasOwn(own, name)) continue;
    const value = own[name];
    if (typeof value === 'number') {
      if (Object.is(Number(text), value)) own[name] = new ExactNumber(text);
    } else if (isSameJson(value, text)) own[name] = new JsonText(text);
  }
  return own;
}

/** Says whether a value is still the value of the JSON text. */
function isSameJson(value: unknown, text: string): boolean {
  if (value === null) return text === 'null';
  if (typeof value !== 'object') return value === parseExact(text);
  try {
    return buildJson(value) === buildJson(parseExact(text));
  } catch {
    // A value that is not JSON is not the value of the text. The encoder reports it.
    return false;
  }
}
