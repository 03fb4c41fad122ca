import { EtlError } from '../../errors.js';
import { toBuffer } from '../copy/encode.js';
import { getCompression, decompress } from './decompress.js';
import type { InputFile, InputOptions } from './input.js';
import { removeMark } from './byte-order-mark.js';

/** The longest time that a server may take to begin its answer. */
const ANSWER_MS = 60_000;

/** Says whether an input is an http or https URL. */
export function isWebUrl(from: string): boolean {
  return /^https?:\/\//i.test(from);
}

/**
 * Creates an input that reads the answer of a web server. Redirects are followed. The user and password of the URL are
 * sent as HTTP basic authentication. Messages contain neither user and password nor the query of the URL, which may be
 * a signature.
 *
 * Reading throws `EtlError` ETL-3551 if the status is not 2xx, if the server can't be reached, or if the answer breaks
 * off.
 */
export function createWebFile(from: string, options: InputOptions): InputFile {
  const url = new URL(from);
  const name = `${url.protocol}//${url.host}${url.pathname}`;
  return { name, chunks: () => removeMark(readBody({ url, name }, options), options.signal) };
}

/** The URL of an input, and its name for messages, which contains no credential. */
interface Address {
  readonly url: URL;
  readonly name: string;
}

/** Requests the URL, and yields the decompressed body of the answer. Throws ETL-3551 if the status is not 2xx. */
async function* readBody(address: Address, options: InputOptions): AsyncGenerator<Buffer> {
  const response = await sendRequest(address, options.signal);
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw createRefusedError(
      address.name,
      `the server answered ${response.status} ${response.statusText}`.trim(),
    );
  }
  // If the answer has a content encoding, fetch has decoded the body.
  const isDecoded = response.headers.get('content-encoding') !== null;
  const compression = options.compression ?? (isDecoded ? 'none' : getCompression(address.url.pathname));
  yield* decompress(readParts(response.body, address.name, options.signal), compression, address.name);
}

/**
 * Sends a GET request, and resolves when the answer begins. The user and password of the URL are sent in a header,
 * because `fetch` refuses a URL with credentials. Throws the reason of `signal` if it aborts, and ETL-3551 for every
 * other failure, also if the answer does not begin in time.
 */
async function sendRequest({ url, name }: Address, signal: AbortSignal): Promise<Response> {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  const tooLate = new AbortController();
  const timer = setTimeout(() => tooLate.abort(), ANSWER_MS);
  try {
    return await fetch(bare, {
      headers: url.username === '' ? {} : { authorization: `Basic ${formatCredentials(url)}` },
      signal: AbortSignal.any([signal, tooLate.signal]),
    });
  } catch (error) {
    signal.throwIfAborted();
    throw createRefusedError(
      name,
      tooLate.signal.aborted ? `no answer within ${ANSWER_MS / 1000} s` : describeReason(error),
      error,
    );
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the user and password of the URL in the form of HTTP basic authentication: `name:secret` in base64. */
function formatCredentials({ username, password }: URL): string {
  return Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
}

/** Yields the parts of the body. Throws the reason of `signal` if it aborts, and ETL-3551 if the answer breaks off. */
async function* readParts(
  stream: AsyncIterable<Uint8Array>,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  try {
    for await (const part of stream) {
      bytes += part.length;
      yield toBuffer(part);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw createRefusedError(
      name,
      `the answer broke off after ${bytes} bytes: ${describeReason(error)}`,
      error,
    );
  }
}

/** Returns the reason of an error of `fetch`. Its message is only "fetch failed"; the reason is in its cause. */
function describeReason(error: unknown): string {
  const { cause, message } = error as Error;
  const { code, message: inner } = (cause ?? {}) as NodeJS.ErrnoException;
  return code ?? inner ?? message;
}

/** Creates the error ETL-3551 for an input that a web server does not deliver completely. */
function createRefusedError(name: string, why: string, cause?: unknown): EtlError {
  return new EtlError('ETL-3551', {
    what: `"${name}" can't be read`,
    why,
    fix: 'try the URL with curl; set `retries` of the task to repeat the request',
    cause,
  });
}
