import { copyInto } from '../../copy/copy-in.js';
import { send } from '../../postgres/protocol.js';
import { findDatabaseError, type DatabaseError } from '../../postgres/sqlstate.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import { sliceRows, type Batch } from './record-batches.js';

/** A COPY that skips the rows that the server refuses. */
export interface CopyWithRejects {
  readonly taskConnection: TaskConnection;
  /** The statement: `copy … from stdin …`. Its options must say that the data has no header. */
  readonly text: string;
  readonly signal: AbortSignal;
  /** Called for each row that the server refuses. `index` is the row in the batch, from 0. */
  readonly reject: (index: number, error: DatabaseError) => void;
}

/**
 * Copies a batch and skips the rows that the server refuses. A row is skipped only after the server refused it alone.
 * Returns the number of rows that the server accepted.
 *
 * A batch without a refused row costs one savepoint. For a refused row, the rows before it are sent again. If the
 * server does not name the row, as for a foreign key, a binary search finds it.
 */
export async function copyWithRejects(copy: CopyWithRejects, batch: Batch): Promise<number> {
  let rows = 0;
  /** The ranges of rows that are not copied yet. The last element is the next range. */
  const ranges: (readonly [from: number, to: number])[] = [[0, batch.ends.length]];
  for (let range = ranges.pop(); range !== undefined; range = ranges.pop()) {
    const [from, to] = range;
    const outcome = await tryRows(copy, sliceRows(batch, from, to));
    if (typeof outcome === 'number') rows += outcome;
    else if (to - from === 1) copy.reject(from, outcome);
    // `pop` takes the last range, so the ranges are pushed in reverse order.
    else ranges.push(...splitRange(from, to, parseLineNumber(outcome)).toReversed());
  }
  return rows;
}

/**
 * Copies rows and returns their number. If the server refuses a row, rolls back to before the COPY and returns the
 * error. Throws an error that no row causes, such as a lost connection.
 */
async function tryRows(
  { taskConnection, text, signal }: CopyWithRejects,
  rows: Buffer,
): Promise<number | DatabaseError> {
  await send(taskConnection, 'savepoint etl_rows');
  try {
    const accepted = await copyInto(taskConnection, text, [rows], { signal });
    await send(taskConnection, 'release savepoint etl_rows');
    return accepted;
  } catch (error) {
    const refused = findDatabaseError(error);
    if (refused === undefined || !isRowError(refused.code)) throw error;
    await send(taskConnection, 'rollback to savepoint etl_rows; release savepoint etl_rows');
    return refused;
  }
}

/** Returns true for errors that a row causes: data errors, broken constraints, and exceptions of a trigger. */
function isRowError(code: string): boolean {
  return code.startsWith('22') || code.startsWith('23') || code === 'P0001';
}

/**
 * Reads the line number, from 1, from the context of a COPY error. The words of the context depend on the language of
 * the server: `COPY t, line 3, column "b"`. Returns undefined if the error came after the last line.
 */
function parseLineNumber({ where }: DatabaseError): number | undefined {
  const line = /^COPY .*?, [^\d,:]*(\d+)/m.exec(where ?? '')?.[1];
  return line === undefined ? undefined : Number(line);
}

/**
 * Splits a range of rows after the server refused a row in it. `line` is the line of the refused row in the COPY, from 1.
 *
 * - With a line number, returns the rows before the refused row, the refused row, and the rows after it:
 *   `splitRange(10, 20, 4)` -> `[10, 13], [13, 14], [14, 20]`. Leaves out empty ranges.
 * - Without a line number, returns two halves: `splitRange(10, 20, undefined)` -> `[10, 15], [15, 20]`.
 *
 * If rows hold line breaks, the line number is larger than the number of the row. Then another row is taken out of the
 * range, and the search only takes longer.
 */
function splitRange(from: number, to: number, line: number | undefined): (readonly [number, number])[] {
  const guess = line === undefined ? undefined : Math.min(from + line - 1, to - 1);
  /** The indexes at which the range is cut. */
  const cuts = guess === undefined ? [from + Math.floor((to - from) / 2)] : [guess, guess + 1];
  const bounds = [from, ...cuts, to];
  return bounds
    .slice(1)
    .map((end, i): readonly [number, number] => [bounds[i] ?? from, end])
    .filter(([start, end]) => start < end);
}
