import type { Row } from '../copy/encode.js';
import type { RowBatch } from './row-reader.js';

/** Decides which columns of an input are loaded. */
export interface ColumnPick {
  /** Says whether a column is loaded. May remember the name of a column that is not. */
  keep(name: string): boolean;
}

/** Leaves out the columns that `pick` does not keep. Yields the batches unchanged if `pick` is undefined. */
export async function* pickColumns(
  batches: AsyncGenerator<RowBatch>,
  pick: ColumnPick | undefined,
): AsyncGenerator<RowBatch> {
  if (pick === undefined) {
    yield* batches;
    return;
  }
  for await (const batch of batches) yield { ...batch, rows: batch.rows.map((row) => pickRow(row, pick)) };
}

/** Returns a copy of a row with the columns that are kept. */
function pickRow(row: Row, pick: ColumnPick): Row {
  const picked: Record<string, unknown> = {};
  for (const name in row) {
    const value = row[name];
    if (value === undefined || !pick.keep(name)) continue;
    // An assignment to `__proto__` would set the prototype.
    if (name === '__proto__') Object.defineProperty(picked, name, { value, enumerable: true });
    else picked[name] = value;
  }
  return picked;
}
