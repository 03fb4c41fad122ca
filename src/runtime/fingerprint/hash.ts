import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type * as v8 from 'node:v8';

const require = createRequire(import.meta.url);

/** The length from which an array is serialized by V8, which is faster, but can't tell what functions use. */
const LONG = 1000;

/** Hashes a part of a fingerprint: 48 bits. */
export function hash(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 8);
}

/** Serializes a long array, such as rows. Returns undefined for other values, and for an array with a function. */
export function serializeLong(value: unknown): Buffer | undefined {
  if (!Array.isArray(value) || value.length < LONG) return undefined;
  try {
    return (require('node:v8') as typeof v8).serialize(value);
  } catch {
    return undefined;
  }
}
