/**
 * Removes a byte order mark from the beginning of the chunks. COPY would read the mark as a part of the first name or
 * value. Throws the reason of `signal` before the next chunk after an abort, so that also a small file that
 * decompresses to many chunks stops.
 */
export async function* removeMark(
  chunks: AsyncIterable<Buffer>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  /** The first bytes, until they are as many as a mark has. Undefined after that. */
  let start: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    if (start === undefined) {
      yield chunk;
      continue;
    }
    start = start.length === 0 ? chunk : Buffer.concat([start, chunk]);
    if (start.length < MARK.length) continue;
    yield start.subarray(0, MARK.length).equals(MARK) ? start.subarray(MARK.length) : start;
    start = undefined;
  }
  // The whole input is shorter than a mark.
  if (start !== undefined && start.length > 0) yield start;
}

const MARK = Buffer.from([0xef, 0xbb, 0xbf]);
