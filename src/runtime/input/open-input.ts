import { fileURLToPath } from 'node:url';
import { EtlError } from '../../errors.js';
import { openCodeInput } from './code-rows.js';
import { isWebUrl, createWebFile } from './http.js';
import { listLocalFiles } from './local-files.js';
import type { Input, InputFile, InputOptions, InputRows } from './input.js';

/**
 * Opens the input of a load. `from` may also be a function that returns the input. The function is called with
 * `context`, once for each attempt.
 *
 * Yields the files in the order of the list, and the files of a glob sorted by name. All names of a list are checked
 * before the first file is yielded, so a missing file is an error before a row is sent.
 *
 * Throws `EtlError` ETL-3501 if a file does not exist, ETL-3553 if a stream was read before, and ETL-3560 if `from` is
 * none of the types of `Input`.
 */
export async function* openInput<Context = undefined>(
  from: Input | ((context: Context) => Input | Promise<Input>),
  options: InputOptions & { readonly context?: Context },
): AsyncGenerator<InputFile | InputRows> {
  const input: unknown = typeof from === 'function' ? await from(options.context as Context) : from;
  if (typeof input === 'string' || input instanceof URL) yield* await openFiles(input, options);
  else if (isListOfNames(input)) {
    const files: InputFile[] = [];
    for (const name of input) files.push(...(await openFiles(name, options)));
    yield* files;
  } else if (isIterable(input)) yield await openCodeInput(input, options);
  else {
    throw new EtlError('ETL-3560', {
      what: `\`from\` is ${input === null ? 'null' : `a ${typeof input}`}, which can't be read`,
      fix: 'use a path, a glob, a URL, a list of them, a stream, an iterable of rows, or a function that returns one of these',
    });
  }
}

/** Returns the inputs of one name: one web file, or the files of a path, a `file:` URL or a glob. */
async function openFiles(name: string | URL, options: InputOptions): Promise<readonly InputFile[]> {
  const text = String(name);
  if (isWebUrl(text)) return [createWebFile(text, options)];
  return listLocalFiles(/^file:/i.test(text) ? fileURLToPath(text) : text, options);
}

/**
 * Says whether an input is an array of paths and URLs. Returns false for an empty array, which is an iterable without
 * rows.
 */
function isListOfNames(input: unknown): input is readonly (string | URL)[] {
  return (
    Array.isArray(input) &&
    input.length > 0 &&
    input.every((item) => typeof item === 'string' || item instanceof URL)
  );
}

/** Says whether an input is a stream or an iterable, and not a text. */
function isIterable(input: unknown): input is AsyncIterable<unknown> | Iterable<unknown> {
  return (
    typeof input === 'object' && input !== null && (Symbol.asyncIterator in input || Symbol.iterator in input)
  );
}
