import { isAscii, isUtf8 } from 'node:buffer';
import { EtlError } from '../../errors.js';
import { giveBack } from '../../hooks/chunks.js';
import type { InputFile } from '../input/input.js';
import { type Codec, createCodec } from './codec.js';
import { type Encoding, UTF8 } from './encodings.js';

/**
 * Turns the chunks of one file into text. Throws `EtlError` ETL-3554, with the offset, if bytes are not valid in the
 * encoding. So no byte is ever replaced by U+FFFD.
 */
export interface Decoder {
  /**
   * Returns the text up to the last complete character. The decoder stores the bytes of an incomplete character until
   * the next call.
   */
  decode(chunk: Buffer): string;
  /** Returns the rest of the text. Throws if the file ends inside a character. */
  end(): string;
}

/**
 * The number of bytes that are decoded at a time. With four times as many, the rows of a piece live so long that the
 * garbage collector moves them to its old generation: a third more memory, and no less time.
 */
const PIECE_BYTES = 64 * 1024;

/** Reads a file as pieces of text, and gives its chunks back. Throws as a `Decoder` does. */
export async function* readText(file: InputFile, encoding: Encoding = UTF8): AsyncGenerator<string> {
  const decoder = createDecoder(file.name, encoding);
  for await (const chunk of file.chunks()) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES)
      yield decoder.decode(chunk.subarray(at, at + PIECE_BYTES));
    giveBack(chunk);
  }
  yield decoder.end();
}

/** Creates a decoder for one file. `name` is the name of the file, for messages. */
export function createDecoder(name: string, encoding: Encoding): Decoder {
  return encoding.decoder === 'utf-8' ? new Utf8Decoder(name) : new OtherDecoder(name, encoding);
}

/** Returns bytes as text, with U+FFFD in place of invalid bytes, for somebody who looks at a wrong row. */
export function decodeLoosely(bytes: Buffer, encoding: Encoding): string {
  if (encoding.decoder === 'utf-8') return bytes.toString('utf8');
  const codec = createCodec(encoding);
  return codec.write(bytes) + codec.end();
}

/** Decodes UTF-8 several times as fast as `TextDecoder`: ASCII text, the most frequent case, takes one copy. */
class Utf8Decoder implements Decoder {
  readonly #name: string;
  /** The bytes of an incomplete character at the end of the chunk before. */
  #rest: Buffer = Buffer.alloc(0);
  /** The number of bytes that were decoded. */
  #offset = 0;

  constructor(name: string) {
    this.#name = name;
  }

  decode(chunk: Buffer): string {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const whole = bytes.subarray(0, countWholeCharacters(bytes));
    this.#rest = Buffer.from(bytes.subarray(whole.length));
    const text = this.#decodeText(whole);
    this.#offset += whole.length;
    return text;
  }

  end(): string {
    return this.#decodeText(this.#rest);
  }

  /**
   * Decodes bytes that contain complete characters only. Throws ETL-3554 with the offset of the first invalid byte in
   * the file.
   */
  #decodeText(bytes: Buffer): string {
    // For ASCII, latin1 gives the same text as UTF-8, and is copied without decoding.
    if (isAscii(bytes)) return bytes.toString('latin1');
    if (isUtf8(bytes)) return bytes.toString('utf8');
    throw createInvalidBytesError(this.#name, 'UTF-8', { at: this.#offset + findInvalidByte(bytes) });
  }
}

/** Decodes any other encoding. */
class OtherDecoder implements Decoder {
  readonly #name: string;
  readonly #encoding: Encoding;
  readonly #codec: Codec;
  #offset = 0;

  constructor(name: string, encoding: Encoding) {
    this.#name = name;
    this.#encoding = encoding;
    this.#codec = createCodec(encoding);
  }

  decode(chunk: Buffer): string {
    const text = this.#assertValid(this.#codec.write(chunk));
    this.#offset += chunk.length;
    return text;
  }

  end(): string {
    return this.#assertValid(this.#codec.end());
  }

  /** Throws ETL-3554 if a character stands for invalid bytes. */
  #assertValid(text: string): string {
    const index = this.#codec.findInvalid(text);
    if (index === -1) return text;
    const where = this.#codec.isSingleByte ? { at: this.#offset + index } : { after: this.#offset };
    throw createInvalidBytesError(this.#name, this.#encoding.name, where);
  }
}

/**
 * Returns the number of bytes without an incomplete UTF-8 character at the end: 1 for the two bytes of `a` and the
 * first half of `é`. The first byte of a character says how many bytes the character has: from 0xc0 two, from 0xe0
 * three, from 0xf0 four. The other bytes are 0x80 to 0xbf. A character has at most four bytes, so an incomplete
 * character has at most three.
 */
function countWholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) break;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? bytes.length - back : bytes.length;
    }
  }
  return bytes.length;
}

/** Returns the offset of the first byte that does not begin a valid character, by bisection. */
function findInvalidByte(bytes: Buffer): number {
  // The first `good` bytes are valid, possibly with an incomplete character at their end. The first `bad` bytes are not.
  let [good, bad] = [0, bytes.length];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (isUtf8(bytes.subarray(0, countWholeCharacters(bytes.subarray(0, middle))))) good = middle;
    else bad = middle;
  }
  // The next byte does not continue the incomplete character, so the character is invalid from its first byte on.
  return countWholeCharacters(bytes.subarray(0, good));
}

/** The place of invalid bytes in a file: their offset, or an offset before them. */
export type InvalidPlace = { readonly at: number } | { readonly after: number };

/** Creates the error ETL-3554. */
export function createInvalidBytesError(name: string, encoding: string, place: InvalidPlace): EtlError {
  return new EtlError('ETL-3554', {
    what: `"${name}" contains bytes that are not ${encoding}`,
    where: `${name}, ${'at' in place ? `at byte ${place.at}` : `after byte ${place.after}`}`,
    fix: 'name the encoding of the file, such as `encoding: "windows-1252"`',
  });
}
