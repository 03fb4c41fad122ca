import { copyInto } from '../../copy/copy-in.js';
import { send } from '../../postgres/protocol.js';
import { findDatabaseError, type DatabaseError } from '../../postgres/sqlstate.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import { sliceRows, type Batch } from './record-batches.js';

/** A COPY that goes on after rows that do not fit. */
export interface CopyWithRejects {
  readonly taskConnection: TaskConnection;
  /** `copy … from stdin …`, for rows without a header. */
  readonly text: string;
  readonly signal: AbortSignal;
  /** Takes a row that does not fit. */
  readonly reject: (index: number, error: DatabaseError) => void;
}

/**
 * Copies a batch, without the rows that the server refuses, each of which was tried alone. Returns the rows that it
 * took. Where none is refused that costs a savepoint a batch; a refused row costs that the rows before it are sent again,
 * and where the server does not say which row it was, such as for a foreign key, a search by halves.
 */
export async function copyWithRejects(copy: CopyWithRejects, batch: Batch): Promise<number> {
  let rows = 0;
  /** Ranges that are still to be copied, the first of them last. */
  const ranges: (readonly [from: number, to: number])[] = [[0, batch.ends.length]];
  for (let range = ranges.pop(); range !== undefined; range = ranges.pop()) {
    const [from, to] = range;
    const outcome = await tryRows(copy, sliceRows(batch, from, to));
    if (typeof outcome === 'number') rows += outcome;
    else if (to - from === 1) copy.reject(from, outcome);
    else ranges.push(...splitRange(from, to, parseLineNumber(outcome)).toReversed());
  }
  return rows;
}

/** Copies rows and counts them, or leaves everything as it was. Throws what is not the fault of a row. */
async function tryRows(
  { taskConnection, text, signal }: CopyWithRejects,
  rows: Buffer,
): Promise<number | DatabaseError> {
  await send(taskConnection, 'savepoint etl_rows');
  try {
    const taken = await copyInto(taskConnection, text, [rows], { signal });
    await send(taskConnection, 'release savepoint etl_rows');
    return taken;
  } catch (error) {
    const refused = findDatabaseError(error);
    if (refused === undefined || !isRowError(refused.code)) throw error;
    await send(taskConnection, 'rollback to savepoint etl_rows; release savepoint etl_rows');
    return refused;
  }
}

/** Data errors, broken constraints, and what a trigger raises. */
function isRowError(code: string): boolean {
  return code.startsWith('22') || code.startsWith('23') || code === 'P0001';
}

/** What COPY calls a line, from 1, in whatever language; undefined for an error that came after the last line. */
function parseLineNumber({ where }: DatabaseError): number | undefined {
  const line = /^COPY .*?, [^\d,:]*(\d+)/m.exec(where ?? '')?.[1];
  return line === undefined ? undefined : Number(line);
}

/**
 * The rows before the one that is to blame, that one, and those after it; without a hint the two halves. A wrong hint,
 * as a row with line breaks gives, costs time and nothing else.
 */
function splitRange(from: number, to: number, line: number | undefined): (readonly [number, number])[] {
  const guess = line === undefined ? undefined : Math.min(from + line - 1, to - 1);
  const cuts = guess === undefined ? [from + Math.floor((to - from) / 2)] : [guess, guess + 1];
  const bounds = [from, ...cuts, to];
  return bounds
    .slice(1)
    .map((end, i): readonly [number, number] => [bounds[i] ?? from, end])
    .filter(([start, end]) => start < end);
}
