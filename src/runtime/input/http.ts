import { EtlError } from '../../errors.js';
import { removeMark } from './byte-order-mark.js';
import { type Coding, decompress, getCompression } from './decompress.js';
import { createRefusedError, sendRequest, type WebAnswer } from './http-request.js';
import type { InputFile, InputOptions } from './input.js';
import { learnFromUrl } from '../secrets/learned-secrets.js';

/** Says whether an input is an http or https URL. */
export function isWebUrl(from: string): boolean {
  return /^https?:\/\//i.test(from);
}

/**
 * Creates an input that reads the answer of a web server. Redirects are followed. The user and password of the URL are
 * sent as HTTP basic authentication. Messages contain neither user and password nor the query of the URL, which may be
 * a signature.
 *
 * Reading throws `EtlError` ETL-3551 if the answer is not the whole file, if the server can't be reached, or if the answer
 * breaks off. Throws ETL-3552 if the answer can't be decompressed, and ETL-3572 if nothing would show that the answer
 * breaks off.
 */
export function createWebFile(from: string, options: InputOptions): InputFile {
  learnFromUrl(from);
  const url = new URL(from);
  const name = `${url.protocol}//${url.host}${url.pathname}`;
  return { name, chunks: () => removeMark(readContent(url, name, options), options.signal) };
}

/** Requests the URL, and yields the decompressed body of the answer. */
async function* readContent(url: URL, name: string, options: InputOptions): AsyncGenerator<Buffer> {
  const { signal, compression: chosen } = options;
  const named = chosen ?? getCompression(url.pathname);
  // A file that is compressed already is not compressed again.
  const acceptEncoding = named === 'none' ? 'gzip, br' : 'identity';
  const answer = await sendRequest({ url, name, acceptEncoding, signal });
  try {
    assertWholeFile(answer, name);
    const encodings = readContentEncodings(answer, name);
    // Servers send a file `a.csv.gz` with the content encoding gzip, although the file itself is compressed. Then the
    // extension and the content encoding are the same compression.
    const own = chosen ?? (encodings.length > 0 ? 'none' : named);
    const codings = [own, ...encodings].filter((coding) => coding !== 'none');
    assertVisibleEnd(answer, codings, name);
    // The last coding of the list was applied last.
    yield* codings.reduceRight((chunks, coding) => decompress(chunks, coding, name), answer.body);
  } finally {
    answer.close();
  }
}

/**
 * Throws ETL-3551 unless the body of the answer is the whole file: status 200, or 203 if a proxy has changed the answer.
 * The other statuses of success say that there is no content, or a part of it, or that the content comes later.
 */
function assertWholeFile({ status, statusLine }: WebAnswer, name: string): void {
  if (status === 200 || status === 203) return;
  const isSuccess = status >= 200 && status < 300;
  throw createRefusedError(
    name,
    `the server answered ${statusLine}${isSuccess ? ', which is not the whole file' : ''}`,
  );
}

/** The content codings by their names. https://www.rfc-editor.org/rfc/rfc9110#name-content-codings */
const CODINGS: Readonly<Record<string, Coding>> = {
  gzip: 'gzip',
  'x-gzip': 'gzip',
  deflate: 'deflate',
  br: 'brotli',
  zstd: 'zstd',
  identity: 'none',
};

/** Returns the content encodings of the answer, in the order in which they were applied. Throws ETL-3551 for others. */
function readContentEncodings({ headers }: WebAnswer, name: string): Coding[] {
  const names = (headers['content-encoding'] ?? '').split(',').map((each) => each.trim().toLowerCase());
  return names
    .filter((each) => each !== '')
    .map((each) => {
      const coding = Object.hasOwn(CODINGS, each) ? CODINGS[each] : undefined;
      if (coding !== undefined) return coding;
      throw createRefusedError(name, `the server sent the content encoding ${JSON.stringify(each)}`);
    });
}

/**
 * Throws ETL-3572 if only the end of the connection ends the answer, and the answer is not compressed either. Such an
 * answer looks complete if the server or a proxy dies while it sends the answer. Compressed data have an end of their own.
 */
function assertVisibleEnd({ headers }: WebAnswer, codings: readonly Coding[], name: string): void {
  const encoding = headers['transfer-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'chunked')
    throw createRefusedError(name, `the server sent the transfer encoding ${JSON.stringify(encoding)}`);
  if (encoding !== undefined || headers['content-length'] !== undefined || codings.length > 0) return;
  throw new EtlError('ETL-3572', {
    what: `"${name}" can't be read safely`,
    why: 'the server says neither how long its answer is nor where it ends (no Content-Length, no chunks), so an answer that breaks off would look complete',
    fix: 'let the server send a Content-Length, or a compressed file; or accept the risk: `from: async () => (await fetch(url)).body`',
  });
}
