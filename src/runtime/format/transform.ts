import { EtlError } from '../../errors.js';
import type { Row } from '../copy/encode.js';
import type { RowBatch } from './row-reader.js';

/**
 * Makes rows for the table from one row of the input. Returns one row, an array of rows, or `undefined` or `null` for
 * no row. The function may change the row and return it.
 *
 * The function is called for every row, so it can't be async. Code that needs `await` belongs in an async generator
 * that `from` returns.
 */
export type Transform = (row: Record<string, unknown>) => Row | readonly Row[] | undefined | null;

/**
 * Applies `transform` to each row of the batches. Throws `EtlError` ETL-3559, with the location of the row, if
 * `transform` throws or returns something that is not a row.
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

/**
 * Transforms each row of a batch. `locateRow` of the result leads from a resulting row to the row of the input that it
 * comes from.
 */
function transformBatch(batch: RowBatch, transform: Transform): RowBatch {
  const rows: Row[] = [];
  /** The index in `batch` of each resulting row. Undefined while every row of `batch` has given exactly one row. */
  let inputIndexes: number[] | undefined;
  for (let i = 0; i < batch.rows.length; i++) {
    const result = callTransform(transform, batch, i);
    if (isRow(result)) {
      inputIndexes?.push(i);
      rows.push(result);
      continue;
    }
    // The first row that gives no row, or an array: so far row `n` of the result came from row `n` of the input.
    inputIndexes ??= rows.map((_, index) => index);
    for (const row of toRowList(result, batch, i)) {
      inputIndexes.push(i);
      rows.push(row);
    }
  }
  const { texts } = batch;
  const findInput = (index: number): number => inputIndexes?.[index] ?? index;
  return {
    rows,
    ...(texts && { texts: rows.map((_, index) => texts[findInput(index)]) }),
    locateRow: (index) => batch.locateRow(findInput(index)),
  };
}

/** Calls `transform` with the row at `index`. Throws ETL-3559, with the location of the row, if `transform` throws. */
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

/** Says whether a result is one row: an object that is neither an array nor a promise. */
function isRow(result: unknown): result is Row {
  return (
    typeof result === 'object' && result !== null && !Array.isArray(result) && !(result instanceof Promise)
  );
}

/**
 * Returns the rows of a result that is not a single row: an array of rows, or none for `undefined` and `null`. Throws
 * ETL-3559, with the location of the row, for anything else.
 */
function toRowList(result: unknown, batch: RowBatch, index: number): readonly Row[] {
  if (result === undefined || result === null) return [];
  if (Array.isArray(result) && result.every(isRow)) return result;
  throw new EtlError('ETL-3559', {
    what: `\`transform\` returned ${result instanceof Promise ? 'a promise' : `a ${typeof result}`} instead of a row`,
    where: batch.locateRow(index),
    fix:
      result instanceof Promise
        ? 'make `transform` a synchronous function; put code that needs `await` into an async generator that `from` returns'
        : 'return a row, an array of rows, or undefined to leave the row out',
  });
}
