import { EtlError } from '../../errors.js';
import { compressionOf, decompress } from './decompress.js';
import type { InputFile, InputOptions } from './input.js';
import { withoutMark } from './byte-order-mark.js';

/** How long a server may take to begin its answer. */
const ANSWER_MS = 60_000;

/** Whether this is an address to be fetched. */
export function isWebUrl(from: string): boolean {
  return /^https?:\/\//i.test(from);
}

/**
 * What a web server answers, redirects followed. User and password of the URL are sent as HTTP asks for it; neither
 * they nor the query, which may be a signature, are in a message. Throws `EtlError` ETL-3551 for another status than 2xx,
 * a server that can't be reached, and an answer that breaks off.
 */
export function webFile(from: string, options: InputOptions): InputFile {
  const url = new URL(from);
  const name = `${url.protocol}//${url.host}${url.pathname}`;
  return { name, chunks: () => withoutMark(body({ url, name }, options), options.signal) };
}

interface Place {
  readonly url: URL;
  readonly name: string;
}

async function* body(place: Place, options: InputOptions): AsyncGenerator<Buffer> {
  const response = await answer(place, options.signal);
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw refused(place.name, `the server answered ${response.status} ${response.statusText}`.trim());
  }
  // fetch has decoded the body already, then.
  const isDecoded = response.headers.get('content-encoding') !== null;
  const compression = options.compression ?? (isDecoded ? 'none' : compressionOf(place.url.pathname));
  yield* decompress(parts(response.body, place.name, options.signal), compression, place.name);
}

async function answer({ url, name }: Place, signal: AbortSignal): Promise<Response> {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  const tooLate = new AbortController();
  const timer = setTimeout(() => tooLate.abort(), ANSWER_MS);
  try {
    return await fetch(bare, {
      headers: url.username === '' ? {} : { authorization: `Basic ${credentials(url)}` },
      signal: AbortSignal.any([signal, tooLate.signal]),
    });
  } catch (error) {
    signal.throwIfAborted();
    throw refused(
      name,
      tooLate.signal.aborted ? `no answer within ${ANSWER_MS / 1000} s` : reasonOf(error),
      error,
    );
  } finally {
    clearTimeout(timer);
  }
}

function credentials({ username, password }: URL): string {
  return Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
}

async function* parts(
  stream: AsyncIterable<Uint8Array>,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  try {
    for await (const part of stream) {
      bytes += part.length;
      yield Buffer.from(part.buffer, part.byteOffset, part.byteLength);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw refused(name, `the answer broke off after ${bytes} bytes: ${reasonOf(error)}`, error);
  }
}

/** `fetch` says "fetch failed" and keeps the reason in the cause. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error;
  const { code, message: inner } = (cause ?? {}) as NodeJS.ErrnoException;
  return code ?? inner ?? message;
}

function refused(name: string, why: string, cause?: unknown): EtlError {
  return new EtlError('ETL-3551', {
    what: `"${name}" can't be read`,
    why,
    fix: 'try the address with curl; `retries` of the task repeat it',
    cause,
  });
}
