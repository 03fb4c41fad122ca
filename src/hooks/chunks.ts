/**
 * A pool of buffers (chunks) for bytes that pass through the process. The garbage collector hardly sees memory outside
 * its heap: without the pool, tens of megabytes accumulate before the collector frees the first buffer.
 */

/** The maximum number of free chunks kept for each size. */
const MAX_FREE_CHUNKS = 32;

/** The free chunks by size in bytes. */
const free = new Map<number, Buffer[]>();
/** Each chunk by its memory. A part of a chunk has the same memory, so the chunk of a part can be found. */
const chunkByMemory = new WeakMap<ArrayBufferLike, Buffer>();

/**
 * Takes a chunk of exactly `bytes` bytes from the pool, or allocates one. The content is arbitrary. The garbage
 * collector frees a chunk that is never given back.
 */
export function takeChunk(bytes: number): Buffer {
  const chunk = free.get(bytes)?.pop();
  if (chunk !== undefined) return chunk;
  const made = Buffer.allocUnsafeSlow(bytes);
  chunkByMemory.set(made.buffer, made);
  return made;
}

/**
 * Returns a chunk to the pool. The argument is the chunk or any part of the chunk. After this call nobody may read any
 * part of the chunk. Does nothing if the buffer is not from the pool, or if the chunk is in the pool already. If the
 * pool has `MAX_FREE_CHUNKS` chunks of this size, the garbage collector frees the chunk.
 */
export function giveBack(part: Buffer): void {
  const chunk = chunkByMemory.get(part.buffer);
  if (chunk === undefined) return;
  const sameSize = free.get(chunk.length) ?? [];
  if (sameSize.length < MAX_FREE_CHUNKS && !sameSize.includes(chunk)) sameSize.push(chunk);
  free.set(chunk.length, sameSize);
}

/** Copies the bytes of a chunk, or of a part of a chunk, into a new buffer, and returns the chunk to the pool. */
export function copyBytes(part: Buffer): Buffer {
  const copy = Buffer.from(part);
  giveBack(part);
  return copy;
}
