import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { describeThrown } from '../../errors.js';

/** The limits of a ping: the number of tries, and times in milliseconds. */
export interface PingLimits {
  /** The limit for one try. */
  readonly tryMs: number;
  /** The pause between two tries. */
  readonly pauseMs: number;
  /** The limit that `end` has for everything. */
  readonly totalMs: number;
}

const LIMITS: PingLimits = { tryMs: 4000, pauseMs: 500, totalMs: 10_000 };
const TRIES = 3;
/** The number of bytes of a body that healthchecks.io keeps: https://healthchecks.io/docs/attaching_logs/ */
export const BODY_BYTES = 100_000;

/**
 * Returns the URL to ping, with the ID of the Dag for each `{dag}`. Returns undefined if the text is no http or https URL,
 * or if it has `{dag}` and there is no Dag.
 */
export function parsePingUrl(text: string, dagId: string | undefined): URL | undefined {
  const isUsable = dagId !== undefined || !text.includes('{dag}');
  const filled = text.trim().replaceAll('{dag}', encodeURIComponent(dagId ?? ''));
  if (!isUsable || !/^https?:\/\//i.test(filled) || !URL.canParse(filled)) return undefined;
  return new URL(filled);
}

/**
 * Sends the pings of one run by the protocol of healthchecks.io: `<url>/start`, and then `<url>` after a success or
 * `<url>/<exit code>` after a failure. All pings of a run have the same `rid`, so the service can pair them.
 * https://healthchecks.io/docs/http_api/
 *
 * No method throws. A ping that was not sent is one notice, which never contains the URL.
 */
export class Pinger {
  readonly #url: URL;
  readonly #notice: (text: string) => void;
  readonly #limits: PingLimits;
  readonly #rid = randomUUID();
  readonly #stopStart = new AbortController();
  #starting: Promise<void> | undefined;

  constructor(url: URL, notice: (text: string) => void, limits: PingLimits = LIMITS) {
    this.#url = url;
    this.#notice = notice;
    this.#limits = limits;
  }

  /** Sends the ping of the start. Does not wait for the answer. */
  start(): void {
    this.#starting ??= this.#send('start', '', this.#stopStart.signal);
  }

  /**
   * Sends the ping of the end, and waits for its answer within the limits. The ping of the start comes before: if it has
   * no answer in half of the time, it is given up.
   */
  async end(exitCode: number, body: string): Promise<void> {
    const { totalMs } = this.#limits;
    const giveUp = setTimeout(() => this.#stopStart.abort(), totalMs / 2);
    const end = AbortSignal.timeout(totalMs);
    await this.#starting;
    clearTimeout(giveUp);
    await this.#send(exitCode === 0 ? '' : String(exitCode), body, end);
  }

  async #send(suffix: string, body: string, signal: AbortSignal): Promise<void> {
    const url = addSuffix(this.#url, suffix, this.#rid);
    let failure = 'no answer';
    for (let tries = 1; tries <= TRIES && !signal.aborted; tries++) {
      if (tries > 1) await delay(this.#limits.pauseMs, undefined, { signal }).catch(() => undefined);
      const answer = await sendOnce(
        url,
        body,
        AbortSignal.any([signal, AbortSignal.timeout(this.#limits.tryMs)]),
      );
      if (answer === undefined) return;
      failure = answer.failure;
      if (!answer.isTransient) break;
    }
    const which = suffix === 'start' ? 'the start' : 'the end';
    this.#notice(`the ping of ${which} of the run did not arrive (${failure}); the run is not affected`);
  }
}

/** Returns the URL with one more part of the path and with `rid`. The query of the user stays, and so does a `rid` in it. */
function addSuffix(base: URL, suffix: string, rid: string): URL {
  const url = new URL(base);
  url.hash = '';
  if (suffix !== '') url.pathname = `${url.pathname.replace(/\/+$/, '')}/${suffix}`;
  if (!url.searchParams.has('rid')) url.search = `${url.search}${url.search === '' ? '?' : '&'}rid=${rid}`;
  return url;
}

/** Sends one request. Returns undefined if the server has taken it, else the reason, and whether another try may help. */
async function sendOnce(
  url: URL,
  body: string,
  signal: AbortSignal,
): Promise<{ readonly failure: string; readonly isTransient: boolean } | undefined> {
  try {
    const { target, authorization } = splitLogin(url);
    const headers = { 'content-type': 'text/plain; charset=utf-8', 'user-agent': 'etl', ...authorization };
    const answer = await fetch(target, { method: 'POST', headers, body: cutBytes(body, BODY_BYTES), signal });
    await answer.body?.cancel();
    if (answer.ok) return undefined;
    const isTransient = answer.status >= 500 || answer.status === 408 || answer.status === 429;
    return { failure: `HTTP status ${answer.status}`, isTransient };
  } catch (error) {
    if (signal.aborted) return { failure: 'no answer in time', isTransient: true };
    // `fetch` says only "fetch failed"; its cause says why.
    const { cause } = error as { cause?: unknown };
    return { failure: describeThrown(cause ?? error) || 'no connection', isTransient: true };
  }
}

/** Returns the URL without its user and password, which `fetch` refuses, and the header that they stand for. */
function splitLogin(url: URL): { readonly target: URL; readonly authorization?: { authorization: string } } {
  const { username, password } = url;
  if (username === '' && password === '') return { target: url };
  const target = new URL(url);
  target.username = target.password = '';
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
  return { target, authorization: { authorization: `Basic ${login.toString('base64')}` } };
}

/** Returns the beginning of a text in UTF-8, without a part of a character at its end. */
function cutBytes(text: string, limit: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.from(text);
  if (bytes.length <= limit) return bytes;
  let end = limit;
  // A byte 10xxxxxx continues a character.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
