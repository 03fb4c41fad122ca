import { fileURLToPath } from 'node:url';
import { EtlError } from '../../errors.js';
import { openCodeInput } from './code-rows.js';
import { isWebUrl, createWebFile } from './http.js';
import { listLocalFiles } from './local-files.js';
import type { Input, InputFile, InputOptions, InputRows } from './input.js';

/**
 * Opens what a load reads: a path, a glob, an http(s) URL, a list of these, a stream, or an iterable of rows or of
 * bytes; or a function that gives one of them, which is called with `context`, once an attempt.
 *
 * Yields one file after the other, in the order of the list, a glob's sorted by name. All names of a list are looked at
 * before the first file is yielded, so that a missing one is an error before a row was sent.
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
  else throw createUnknownInputError(input);
}

async function openFiles(name: string | URL, options: InputOptions): Promise<readonly InputFile[]> {
  const text = String(name);
  if (isWebUrl(text)) return [createWebFile(text, options)];
  return listLocalFiles(/^file:/i.test(text) ? fileURLToPath(text) : text, options);
}

function isListOfNames(input: unknown): input is readonly (string | URL)[] {
  return (
    Array.isArray(input) &&
    input.length > 0 &&
    input.every((item) => typeof item === 'string' || item instanceof URL)
  );
}

function isIterable(input: unknown): input is AsyncIterable<unknown> | Iterable<unknown> {
  return (
    typeof input === 'object' && input !== null && (Symbol.asyncIterator in input || Symbol.iterator in input)
  );
}

function createUnknownInputError(input: unknown): EtlError {
  return new EtlError('ETL-3560', {
    what: `\`from\` is ${input === null ? 'null' : `a ${typeof input}`}, which can't be read`,
    fix: 'give a path, a glob, a URL, a list of them, a stream, an iterable of rows, or a function that gives one',
  });
}
