import { EtlError } from '../../errors.js';
import { getCompression, decompress } from './decompress.js';
import type { InputFile, InputOptions } from './input.js';
import { removeMark } from './byte-order-mark.js';

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
export function createWebFile(from: string, options: InputOptions): InputFile {
  const url = new URL(from);
  const name = `${url.protocol}//${url.host}${url.pathname}`;
  return { name, chunks: () => removeMark(readBody({ url, name }, options), options.signal) };
}

interface Address {
  readonly url: URL;
  readonly name: string;
}

async function* readBody(address: Address, options: InputOptions): AsyncGenerator<Buffer> {
  const response = await sendRequest(address, options.signal);
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw createRefusedError(
      address.name,
      `the server answered ${response.status} ${response.statusText}`.trim(),
    );
  }
  // fetch has decoded the body already, then.
  const isDecoded = response.headers.get('content-encoding') !== null;
  const compression = options.compression ?? (isDecoded ? 'none' : getCompression(address.url.pathname));
  yield* decompress(readParts(response.body, address.name, options.signal), compression, address.name);
}

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

function formatCredentials({ username, password }: URL): string {
  return Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
}

async function* readParts(
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
    throw createRefusedError(
      name,
      `the answer broke off after ${bytes} bytes: ${describeReason(error)}`,
      error,
    );
  }
}

/** `fetch` says "fetch failed" and keeps the reason in the cause. */
function describeReason(error: unknown): string {
  const { cause, message } = error as Error;
  const { code, message: inner } = (cause ?? {}) as NodeJS.ErrnoException;
  return code ?? inner ?? message;
}

function createRefusedError(name: string, why: string, cause?: unknown): EtlError {
  return new EtlError('ETL-3551', {
    what: `"${name}" can't be read`,
    why,
    fix: 'try the address with curl; `retries` of the task repeat it',
    cause,
  });
}
