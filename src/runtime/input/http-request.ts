import * as http from 'node:http';
import * as https from 'node:https';
import { EtlError } from '../../errors.js';

/** The longest time that a server may take to begin its answer, with all redirects. */
const ANSWER_MS = 60_000;
/** The longest time that may pass between two parts of an answer. */
const SILENCE_MS = 300_000;
/** The statuses of a redirect. */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const MAX_REDIRECTS = 20;

/** A request for the content of a URL. */
export interface WebRequest {
  readonly url: URL;
  /** The name of the input, for messages. It contains no credential. */
  readonly name: string;
  /** The value of the header `Accept-Encoding`. */
  readonly acceptEncoding: string;
  readonly signal: AbortSignal;
}

/** The beginning of an answer, and its body. */
export interface WebAnswer {
  readonly status: number;
  /** The status and its words: `404 Not Found`. */
  readonly statusLine: string;
  readonly headers: http.IncomingHttpHeaders;
  /** Yields the bytes of the body as they were sent, without the chunks of HTTP. Can be read once. */
  readonly body: AsyncGenerator<Buffer>;
  /** Ends the connection without reading the body. */
  close(): void;
}

/**
 * Sends a GET request, follows redirects, and resolves when the answer begins. `fetch` can't be used: it decodes a
 * content encoding itself, and takes an encoded body that was cut for a complete body. The user and password of the URL
 * are sent to the server of the URL, and to no other server.
 *
 * Throws the reason of `signal` if it aborts, and `EtlError` ETL-3551 for every other failure, also if the answer does not
 * begin in time. Reading the body throws ETL-3551 if the answer breaks off, is longer than it says, or pauses too long.
 */
export async function sendRequest(request: WebRequest): Promise<WebAnswer> {
  const tooLate = new AbortController();
  const timer = setTimeout(() => tooLate.abort(), ANSWER_MS);
  try {
    let answer = await sendOnce(request, request.url, tooLate.signal);
    for (let [count, url] = [1, request.url]; ; count++) {
      const { location } = answer.headers;
      if (!REDIRECTS.has(answer.status) || location === undefined) return answer;
      answer.close();
      if (count > MAX_REDIRECTS) throw new Error(`more than ${MAX_REDIRECTS} redirects`);
      url = new URL(location, url);
      answer = await sendOnce(request, url, tooLate.signal);
    }
  } catch (error) {
    request.signal.throwIfAborted();
    const reason = tooLate.signal.aborted ? `no answer within ${ANSWER_MS / 1000} s` : describeReason(error);
    throw createRefusedError(request.name, reason, error);
  } finally {
    clearTimeout(timer);
  }
}

/** Sends one GET request to `url`, which is the URL of the input or of a redirect. */
async function sendOnce(from: WebRequest, url: URL, tooLate: AbortSignal): Promise<WebAnswer> {
  const { protocol, host, pathname, search } = url;
  if (protocol !== 'http:' && protocol !== 'https:')
    throw new Error(`a redirect to ${protocol} is not followed`);
  const isOwn = from.url.username !== '' && protocol === from.url.protocol && host === from.url.host;
  const headers = {
    accept: '*/*',
    'accept-encoding': from.acceptEncoding,
    'user-agent': 'etl',
    // The connection is not used again, so all its bytes belong to this answer.
    connection: 'close',
    ...(isOwn ? { authorization: `Basic ${formatCredentials(from.url)}` } : {}),
  };
  const { request } = protocol === 'https:' ? https : http;
  const sent = request(new URL(pathname + search, url.origin), { headers, agent: false });
  // After the beginning of the answer, `readBody` learns of an abort from its own signal.
  const stop = (): void => void sent.destroy();
  const signals = [tooLate, from.signal];
  /** The error of the request, also if it comes after the beginning of the answer. */
  const failure: { error?: Error } = {};
  try {
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      sent.on('response', resolve);
      sent.on('error', (error) => {
        failure.error = error;
        reject(error);
      });
      for (const signal of signals) {
        if (signal.aborted) stop();
        signal.addEventListener('abort', stop, { once: true });
      }
      sent.end();
    });
    // Node.js reports an answer that breaks off as an error of the response. Without a listener it ends the process.
    response.on('error', () => undefined);
    return {
      status: response.statusCode ?? 0,
      statusLine: `${response.statusCode} ${response.statusMessage}`.trim(),
      headers: response.headers,
      body: readBody(response, from, failure),
      close: () => void response.destroy(),
    };
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', stop);
  }
}

/** Returns the user and password of the URL in the form of HTTP basic authentication: `name:secret` in base64. */
function formatCredentials({ username, password }: URL): string {
  return Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
}

/**
 * Yields the parts of the body. Throws the reason of the request's signal if it aborts. Throws ETL-3551 if the answer
 * breaks off, if no byte comes for a long time, or if bytes follow after the end that the answer has named.
 */
async function* readBody(
  response: http.IncomingMessage,
  { name, signal }: WebRequest,
  failure: { readonly error?: Error },
): AsyncGenerator<Buffer> {
  let bytes = 0;
  const stop = (): void => void response.destroy();
  const silence = (): void => void response.destroy(new Error(`no byte came for ${SILENCE_MS / 1000} s`));
  signal.addEventListener('abort', stop, { once: true });
  try {
    signal.throwIfAborted();
    const parts = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    for (;;) {
      // The time that the load needs for a part does not count.
      const timer = setTimeout(silence, SILENCE_MS);
      const next = await parts.next().finally(() => clearTimeout(timer));
      if (next.done === true) break;
      bytes += next.value.length;
      yield next.value;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw createRefusedError(
      name,
      `the answer broke off after ${bytes} bytes: ${describeReason(error)}`,
      error,
    );
  } finally {
    signal.removeEventListener('abort', stop);
    response.destroy();
  }
  signal.throwIfAborted();
  if (!response.complete) throw createRefusedError(name, `the answer broke off after ${bytes} bytes`);
  if (failure.error !== undefined)
    throw createRefusedError(
      name,
      `the server sent more than the ${bytes} bytes that it announced`,
      failure.error,
    );
}

/** Returns the reason of an error: its code, such as `ECONNREFUSED`, or its message. */
function describeReason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}

/** Creates the error ETL-3551 for an input that a web server does not deliver completely. */
export function createRefusedError(name: string, why: string, cause?: unknown): EtlError {
  return new EtlError('ETL-3551', {
    what: `"${name}" can't be read`,
    why,
    fix: 'try the URL with curl; set `retries` of the task to repeat the request',
    cause,
  });
}
