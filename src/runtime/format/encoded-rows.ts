import type { InputFile, InputRows } from '../input/input.js';
import { encodeRows, type EncodedRows, type EncodingOptions } from './row-encoding.js';
import { threadRows } from './thread.js';
import type { Transform } from './transform.js';
import { importTransform, type TransformModule } from './transform-module.js';

/** What becomes of the rows of an input on their way to the server. */
export interface RowOptions extends Omit<EncodingOptions, 'transform'> {
  /**
   * Is put to each row. A function runs between the other work of the main thread, because it may use what is around it;
   * one in a module of its own runs in a thread of its own, with parsing and encoding.
   */
  readonly transform?: Transform | TransformModule;
}

/**
 * Reads an input as rows, transforms them and writes them for COPY, in one pass: whole batches go from one to the next,
 * so that memory does not grow with the input. Reads as much of it at once as it takes to know the columns.
 *
 * A load does this, for each input of `openInput`:
 *
 * ```ts
 * await using rows = await encodedRows(input, { transform });
 * const list = rows.columns.map(({ name }) => quoteIdentifier(name)).join(', ');
 * await copyInto(wire, `copy ${table} (${list}) from stdin`, rows.chunks(jsonColumns), { signal });
 * ```
 *
 * Resolves to undefined when the input has no row and names no columns. Whoever does not read the chunks to their end
 * disposes of the rows, which closes the input.
 */
export async function encodedRows(
  input: InputFile | InputRows,
  { transform, ...options }: RowOptions = {},
): Promise<EncodedRows | undefined> {
  if (transform === undefined) return encodeRows(input, options);
  if (typeof transform === 'function') return encodeRows(input, { ...options, transform });
  if ('chunks' in input) return threadRows(input, { ...options, transform });
  // Rows of code can't be sent without being copied one by one, which takes longer than what is to be done with them.
  return encodeRows(input, { ...options, transform: await importTransform(transform) });
}
