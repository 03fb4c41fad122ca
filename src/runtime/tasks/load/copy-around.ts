import { copyInto } from '../../copy/copy-in.js';
import { send } from '../../postgres/protocol.js';
import { findDatabaseError, type DatabaseError } from '../../postgres/sqlstate.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import { buildCopyParts, type Batch } from './record-batches.js';
import { isRowError } from './row-error.js';

/** A COPY statement for parts of an input. */
export interface PartialCopy {
  readonly taskConnection: TaskConnection;
  /** The statement: `copy … from stdin …`. */
  readonly text: string;
  readonly signal: AbortSignal;
}

/** Called for each row that the server refuses. `index` is the row in the batch, from 0. */
export type Reject = (index: number, error: DatabaseError) => void;

/**
 * Copies batches of rows and skips the rows that the server refuses. A row is skipped only after the server refused it
 * alone, and only if the server accepts the same COPY without rows.
 *
 * A batch without a refused row costs one savepoint. For a refused row, the rows before it are sent again. If the
 * server does not name the row, as for a foreign key, a binary search finds it.
 */
export class CopyAround {
  readonly #copy: PartialCopy;
  /** True if the server has accepted the COPY without rows. */
  #isRight = false;

  constructor(copy: PartialCopy) {
    this.#copy = copy;
  }

  /** Copies a batch, and returns the number of rows that the server accepted. */
  async copyBatch(batch: Batch, reject: Reject): Promise<number> {
    let rows = 0;
    /** The ranges of rows that are not copied yet. The last element is the next range. */
    const ranges: (readonly [from: number, to: number])[] = [[0, batch.ends.length]];
    for (let range = ranges.pop(); range !== undefined; range = ranges.pop()) {
      const [from, to] = range;
      const outcome = await this.#tryRows(buildCopyParts(batch, from, to));
      if (typeof outcome === 'number') {
        rows += outcome;
        continue;
      }
      await this.#assertRight();
      const line = parseLineNumber(outcome, batch);
      if (to - from === 1) reject(from, outcome);
      // `pop` takes the last range, so the ranges are pushed in reverse order.
      else ranges.push(...splitRange(from, to, line).toReversed());
    }
    return rows;
  }

  /**
   * Copies rows and returns their number. If the server refuses a row, rolls back to before the COPY and returns the
   * error. Throws an error that no row causes, such as a lost connection.
   */
  async #tryRows(parts: readonly Buffer[]): Promise<number | DatabaseError> {
    const { taskConnection, text, signal } = this.#copy;
    await send(taskConnection, 'savepoint etl_rows');
    try {
      const accepted = await copyInto(taskConnection, text, parts, { signal });
      await send(taskConnection, 'release savepoint etl_rows');
      return accepted;
    } catch (error) {
      const refused = findDatabaseError(error);
      if (refused === undefined || !isRowError(refused)) throw error;
      await this.#rollBack();
      return refused;
    }
  }

  /**
   * Sends the COPY without rows, once, and undoes it. Throws the error of the server: then a wrong option or a trigger of
   * the statement is the reason for the refusal, and not a row.
   */
  async #assertRight(): Promise<void> {
    if (this.#isRight) return;
    const { taskConnection, text, signal } = this.#copy;
    await send(taskConnection, 'savepoint etl_rows');
    await copyInto(taskConnection, text, [], { signal });
    await this.#rollBack();
    this.#isRight = true;
  }

  async #rollBack(): Promise<void> {
    await send(this.#copy.taskConnection, 'rollback to savepoint etl_rows; release savepoint etl_rows');
  }
}

/**
 * Reads the line number, from 1, from the context of a COPY error. The words of the context depend on the language of
 * the server: `COPY t, line 3, column "b"`. The empty line before the rows does not count. Returns undefined if the error
 * came after the last line.
 */
function parseLineNumber({ where }: DatabaseError, { firstLine }: Batch): number | undefined {
  const line = /^COPY .*?, [^\d,:]*(\d+)/m.exec(where ?? '')?.[1];
  return line === undefined ? undefined : Math.max(1, Number(line) - (firstLine.length > 0 ? 1 : 0));
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
