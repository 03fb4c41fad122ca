import { isAscii, isUtf8 } from 'node:buffer';
import { TextDecoder } from 'node:util';
import { EtlError } from '../../errors.js';
import { giveBack } from '../../hooks/chunks.js';
import type { InputFile } from '../input/input.js';

/**
 * Turns the chunks of one file into text, character by character whole. `encoding` is a name of
 * https://encoding.spec.whatwg.org/#names-and-labels. Throws `EtlError` ETL-3554, with the offset, for bytes that are no
 * text in it; so nothing is ever replaced by U+FFFD.
 */
export interface Decoder {
  decode(chunk: Buffer): string;
  /** Throws when the file ends inside of a character. */
  end(): string;
}

/**
 * As much as is decoded at a time: the rows of four times as much live long enough to be kept by the garbage collector,
 * which takes a third more memory and no less time.
 */
const PIECE_BYTES = 64 * 1024;

/** The text of a file, in pieces; its chunks are given back. Throws as a `Decoder` does. */
export async function* readText(file: InputFile, encoding: string | undefined): AsyncGenerator<string> {
  const decoder = createDecoder(file.name, encoding);
  for await (const chunk of file.chunks()) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES)
      yield decoder.decode(chunk.subarray(at, at + PIECE_BYTES));
    giveBack(chunk);
  }
  yield decoder.end();
}

/** `name` is the file's, for messages. */
export function createDecoder(name: string, encoding = 'utf-8'): Decoder {
  return /^utf-?8$/i.test(encoding) ? new Utf8Decoder(name) : new OtherDecoder(name, encoding);
}

/** Several times as fast as `TextDecoder`: text of ASCII, the most of it, is one copy. */
class Utf8Decoder implements Decoder {
  readonly #name: string;
  #rest: Buffer = Buffer.alloc(0);
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

  #decodeText(bytes: Buffer): string {
    if (isAscii(bytes)) return bytes.toString('latin1');
    if (isUtf8(bytes)) return bytes.toString('utf8');
    throw createNotTextError(this.#name, 'UTF-8', this.#offset + findInvalidByte(bytes));
  }
}

class OtherDecoder implements Decoder {
  readonly #name: string;
  readonly #encoding: string;
  readonly #decoder: TextDecoder;
  #offset = 0;

  constructor(name: string, encoding: string) {
    this.#name = name;
    this.#encoding = encoding;
    this.#decoder = new TextDecoder(encoding, { fatal: true });
  }

  decode(chunk: Buffer): string {
    const text = this.#guard(() => this.#decoder.decode(chunk, { stream: true }));
    this.#offset += chunk.length;
    return text;
  }

  end(): string {
    return this.#guard(() => this.#decoder.decode());
  }

  #guard(decode: () => string): string {
    try {
      return decode();
    } catch (error) {
      throw createNotTextError(this.#name, this.#encoding, this.#offset, error);
    }
  }
}

/** Where the last character begins, if the bytes end before it does; otherwise their length. */
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

function findInvalidByte(bytes: Buffer): number {
  let [good, bad] = [0, bytes.length];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (isUtf8(bytes.subarray(0, countWholeCharacters(bytes.subarray(0, middle))))) good = middle;
    else bad = middle;
  }
  return good;
}

function createNotTextError(name: string, encoding: string, offset: number, cause?: unknown): EtlError {
  return new EtlError('ETL-3554', {
    what: `"${name}" holds bytes that are not ${encoding}`,
    where: `${name}, ${encoding === 'UTF-8' ? 'at' : 'after'} byte ${offset}`,
    fix: 'name the encoding of the file, such as `encoding: "windows-1252"`',
    cause,
  });
}
