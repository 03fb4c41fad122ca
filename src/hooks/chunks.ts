/**
 * Memory for bytes that pass through the process. What is given back is used again: left to the garbage collector, which
 * sees little of it, tens of megabytes come together before the first are freed.
 */

/** So many of one size wait for their next use. */
const MAX_FREE_CHUNKS = 32;

const free = new Map<number, Buffer[]>();
/** By their memory, which parts of them share. */
const chunkByMemory = new WeakMap<ArrayBufferLike, Buffer>();

/** Takes memory of so many bytes, with anything in it. Whoever does not give it back leaves it to the collector. */
export function takeChunk(bytes: number): Buffer {
  const chunk = free.get(bytes)?.pop();
  if (chunk !== undefined) return chunk;
  const made = Buffer.allocUnsafeSlow(bytes);
  chunkByMemory.set(made.buffer, made);
  return made;
}

/**
 * Gives back a chunk, or the part of it that had the bytes: nobody may read any of it any more. Does nothing for memory
 * from elsewhere.
 */
export function giveBack(part: Buffer): void {
  const whole = chunkByMemory.get(part.buffer);
  if (whole === undefined) return;
  const others = free.get(whole.length) ?? [];
  if (others.length < MAX_FREE_CHUNKS && !others.includes(whole)) others.push(whole);
  free.set(whole.length, others);
}

/** Memory of its own for what is in a chunk, which is given back. */
export function copyBytes(part: Buffer): Buffer {
  const copy = Buffer.from(part);
  giveBack(part);
  return copy;
}
