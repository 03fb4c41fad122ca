import { EtlError } from '../../errors.js';
import type { Row } from '../copy/encode.js';
import type { RowBatch } from './row-reader.js';

/**
 * Makes of one row of the input the rows for the table: one, none (`undefined` or `null`), or several. It may change the
 * row that it gets and return it. It is called for millions of rows and can't wait: what needs `await` is an async
 * generator that `from` gives.
 */
export type Transform = (row: Record<string, unknown>) => Row | readonly Row[] | undefined | null;

/**
 * The batches with `transform` put to each row. Throws `EtlError` ETL-3559, with the place of the row, when it throws or
 * returns what is no row.
 */
export async function* transformBatches(
  batches: AsyncGenerator<RowBatch>,
  transform: Transform | undefined,
): AsyncGenerator<RowBatch> {
  if (transform === undefined) {
    yield* batches;
    return;
  }
  for await (const batch of batches) {
    const result = transformBatch(batch, transform);
    if (result.rows.length > 0) yield result;
  }
}

function transformBatch(batch: RowBatch, transform: Transform): RowBatch {
  const rows: Row[] = [];
  /** The index in `batch` of each row, from the first on that was left out or came with others. */
  let inputIndexes: number[] | undefined;
  for (let i = 0; i < batch.rows.length; i++) {
    const result = callTransform(transform, batch, i);
    if (isRow(result)) {
      inputIndexes?.push(i);
      rows.push(result);
      continue;
    }
    inputIndexes ??= rows.map((_, index) => index);
    for (const row of toRowList(result, batch, i)) {
      inputIndexes.push(i);
      rows.push(row);
    }
  }
  return { rows, locateRow: (index) => batch.locateRow(inputIndexes?.[index] ?? index) };
}

function callTransform(transform: Transform, batch: RowBatch, index: number): unknown {
  try {
    return transform(batch.rows[index] as Record<string, unknown>);
  } catch (error) {
    throw new EtlError('ETL-3559', {
      what: '`transform` failed',
      where: batch.locateRow(index),
      why: error instanceof Error ? error.message : String(error),
      cause: error,
    });
  }
}

function isRow(result: unknown): result is Row {
  return (
    typeof result === 'object' && result !== null && !Array.isArray(result) && !(result instanceof Promise)
  );
}

function toRowList(result: unknown, batch: RowBatch, index: number): readonly Row[] {
  if (result === undefined || result === null) return [];
  if (Array.isArray(result) && result.every(isRow)) return result;
  throw new EtlError('ETL-3559', {
    what: `\`transform\` returned ${result instanceof Promise ? 'a promise' : `a ${typeof result}`} instead of a row`,
    where: batch.locateRow(index),
    fix:
      result instanceof Promise
        ? 'make it a plain function; what needs `await` is an async generator that `from` gives'
        : 'return the row, undefined to leave it out, or an array of rows',
  });
}
