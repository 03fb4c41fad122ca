import { isAscii } from 'node:buffer';
import { createRequire } from 'node:module';
import { TextDecoder } from 'node:util';
import type { Encoding } from './encodings.js';

/** Turns the bytes of one file into text. */
export interface Codec {
  /**
   * Returns the text up to the last complete character, and keeps the bytes of an incomplete character. Bytes that are
   * not valid become characters that `invalid` matches.
   */
  write(bytes: Buffer): string;
  /** Returns the rest of the text, with an invalid character if the file ends inside a character. */
  end(): string;
  /** Returns the index of the first character that stands for invalid bytes, or -1. */
  findInvalid(text: string): number;
  /** Matches a character that stands for invalid bytes. The pattern has the flags `g` and `u`. */
  readonly invalid: RegExp;
  /** True if each byte is one character, so that the index of a character is the index of its byte. */
  readonly isSingleByte: boolean;
}

/** Creates the codec of an encoding that is not UTF-8, for one file. */
export function createCodec({ decoder, server }: Encoding): Codec {
  if (server !== undefined) return new SingleByteCodec(decoder);
  if (decoder.startsWith('utf-16')) return new Utf16Codec(decoder);
  if (decoder === 'euc-kr') return new KoreanCodec();
  return decoder === 'shift_jis' ? new ShiftJisCodec() : new ReplacingCodec(createWebDecoder(decoder));
}

/** A decoder that keeps incomplete characters, and writes U+FFFD for invalid bytes. */
interface StreamDecoder {
  write(bytes: Buffer): string;
  end(): string;
}

/**
 * Returns the decoder of Node.js. `gb18030` also stands for `gbk`, which is a part of it, because some versions of Node.js
 * read `gbk` as `gb18030` and others do not.
 */
function createWebDecoder(encoding: string): StreamDecoder {
  const decoder = new TextDecoder(encoding === 'gbk' ? 'gb18030' : encoding);
  return { write: (bytes) => decoder.decode(bytes, { stream: true }), end: () => decoder.decode() };
}

/** The character that decoders write for invalid bytes. Of the encodings here, only GB18030 has it. */
const REPLACEMENT = '\ufffd';

/** A codec with a decoder that writes U+FFFD for invalid bytes. */
class ReplacingCodec implements Codec {
  readonly invalid = /\ufffd/gu;
  readonly isSingleByte: boolean = false;
  readonly #decoder: StreamDecoder;

  constructor(decoder: StreamDecoder) {
    this.#decoder = decoder;
  }

  write(bytes: Buffer): string {
    return this.#decoder.write(bytes);
  }

  end(): string {
    return this.#decoder.end();
  }

  findInvalid(text: string): number {
    return text.indexOf(REPLACEMENT);
  }
}

/** The control characters that the decoder of Node.js confuses, by the character that it writes. */
const CONFUSED: Readonly<Record<string, string>> = { '\x1c': '\x1a', '\x7f': '\x1c', '\x1a': '\x7f' };
// oxlint-disable-next-line no-control-regex -- The control characters are the subject.
const CONFUSED_SIGN = /[\x1a\x1c\x7f]/g;

class ShiftJisCodec extends ReplacingCodec {
  constructor() {
    super(createWebDecoder('shift_jis'));
  }

  override write(bytes: Buffer): string {
    return super.write(bytes).replaceAll(CONFUSED_SIGN, (sign) => CONFUSED[sign] ?? sign);
  }
}

/** The bytes that `iconv-lite` knows and PostgreSQL does not: `windows-1255` has no U+05BA there. */
const UNKNOWN_TO_SERVER: Readonly<Record<string, readonly number[]>> = { 'windows-1255': [0xca] };

/**
 * Decodes an encoding with one byte a character by a table. `TextDecoder` alone can't be used: it differs from PostgreSQL,
 * and between versions of Node.js (https://github.com/nodejs/node/issues/56542). It is several times as fast as the table,
 * so it decodes the text if no character in it comes from a byte that it reads in another way.
 */
class SingleByteCodec implements Codec {
  readonly invalid = /\ufffd/gu;
  readonly isSingleByte = true;
  readonly #table: Uint16Array;
  readonly #fast: FastDecoder | undefined;

  constructor(decoder: string) {
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const text = loadIconv().decode(all, decoder);
    this.#table = Uint16Array.from(all, (byte) => text.charCodeAt(byte));
    for (const byte of UNKNOWN_TO_SERVER[decoder] ?? []) this.#table[byte] = REPLACEMENT.charCodeAt(0);
    this.#fast = createFastDecoder(decoder, this.#table);
  }

  write(bytes: Buffer): string {
    if (isAscii(bytes)) return bytes.toString('latin1');
    const text = this.#fast?.decode(bytes);
    if (text !== undefined && !this.#fast?.doubtful.some((sign) => text.includes(sign))) return text;
    const table = this.#table;
    const units = new Uint16Array(bytes.length);
    for (let i = 0; i < bytes.length; i++) units[i] = table[bytes[i] as number] as number;
    return Buffer.from(units.buffer).toString('utf16le');
  }

  end(): string {
    return '';
  }

  findInvalid(text: string): number {
    return text.indexOf(REPLACEMENT);
  }
}

/** A decoder that is right as long as its text has no doubtful character. */
interface FastDecoder {
  decode(bytes: Buffer): string;
  readonly doubtful: readonly string[];
}

/**
 * Returns the decoder of Node.js, and the characters that it writes for bytes for which `table` has another character.
 * Returns undefined if this version of Node.js does not have the encoding.
 */
function createFastDecoder(encoding: string, table: Uint16Array): FastDecoder | undefined {
  if (encoding === 'iso-8859-1') return { decode: (bytes) => bytes.toString('latin1'), doubtful: [] };
  let decoder: TextDecoder;
  try {
    decoder = new TextDecoder(encoding);
  } catch {
    return undefined;
  }
  const decode = (bytes: Buffer): string => decoder.decode(bytes, { stream: true });
  const doubtful: string[] = [];
  for (let byte = 0; byte < 256; byte++) {
    const text = decode(Buffer.of(byte));
    if (text.length !== 1) return undefined;
    if (text.charCodeAt(0) !== table[byte]) doubtful.push(text);
  }
  return { decode, doubtful };
}

/** The highest byte that is never the second byte of a Korean character. */
const LAST_SINGLE = 0x40;
/** The characters that the decoder of Node.js writes for Korean characters that it does not know. */
// oxlint-disable-next-line no-control-regex -- The control characters are the subject.
const NOT_KOREAN = /[\x80-\x9f\ufffd]/;

/**
 * Decodes EUC-KR with the extension that Windows and the Encoding Standard use. The decoder of Node.js lacks the extension.
 * It is several times as fast as `iconv-lite`, so it decodes the pieces of text without such characters.
 */
class KoreanCodec extends ReplacingCodec {
  readonly #web = new TextDecoder('euc-kr');
  #rest: Buffer = Buffer.alloc(0);

  constructor() {
    super({ write: (bytes) => loadIconv().decode(bytes, 'cp949'), end: () => '' });
  }

  override write(bytes: Buffer): string {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let end = all.length;
    while (end > 0 && (all[end - 1] as number) > LAST_SINGLE) end--;
    this.#rest = Buffer.from(all.subarray(end));
    return this.#decode(all.subarray(0, end));
  }

  override end(): string {
    return this.#decode(this.#rest);
  }

  #decode(piece: Buffer): string {
    const text = this.#web.decode(piece);
    return NOT_KOREAN.test(text) ? super.write(piece) : text;
  }
}

/** Half of a surrogate pair, which no valid UTF-16 has. */
const HALF_PAIR = /\p{Surrogate}/gu;
const MARK = '\ufeff';

/** Decodes UTF-16, and removes its byte order mark. `utf-16` without a mark is little-endian. */
class Utf16Codec implements Codec {
  readonly invalid = HALF_PAIR;
  readonly isSingleByte = false;
  #isBigEndian: boolean;
  #mayChooseOrder: boolean;
  #isAtStart = true;
  /** An odd byte, or the bytes of the first half of a surrogate pair with an odd byte after them. */
  #rest: Buffer = Buffer.alloc(0);

  constructor(decoder: string) {
    this.#isBigEndian = decoder === 'utf-16be';
    this.#mayChooseOrder = decoder === 'utf-16';
  }

  write(bytes: Buffer): string {
    const all = Buffer.concat([this.#rest, bytes]);
    if (this.#mayChooseOrder && all.length >= 2) {
      this.#isBigEndian = all[0] === 0xfe && all[1] === 0xff;
      this.#mayChooseOrder = false;
    }
    const units = all.subarray(0, all.length - (all.length % 2));
    // `all` is a copy, so its bytes may be swapped.
    let text = (this.#isBigEndian ? units.swap16() : units).toString('utf16le');
    this.#rest = Buffer.from(all.subarray(units.length));
    // The second half of a pair may follow in the next chunk.
    const last = text.charCodeAt(text.length - 1);
    if (last >= 0xd800 && last < 0xdc00) {
      const half = Buffer.from(text.slice(-1), 'utf16le');
      this.#rest = Buffer.concat([this.#isBigEndian ? half.swap16() : half, this.#rest]);
      text = text.slice(0, -1);
    }
    if (text === '') return '';
    const isMarked = this.#isAtStart && text.startsWith(MARK);
    this.#isAtStart = false;
    return isMarked ? text.slice(1) : text;
  }

  end(): string {
    // Half of a pair, so that an odd byte at the end counts as invalid.
    return this.#rest.length > 0 ? '\ud800' : '';
  }

  findInvalid(text: string): number {
    return (text as WellFormed).isWellFormed() ? -1 : text.search(HALF_PAIR);
  }
}

/** A method of strings that the types of this language version do not have yet. */
type WellFormed = string & { isWellFormed(): boolean };

/** The part of `iconv-lite` that is used here. */
interface Iconv {
  decode(bytes: Buffer, encoding: string): string;
}

/** The file of `iconv-lite` beside the program, which the build writes: its tables would make every start slower. */
declare const ICONV_FILE: string | undefined;

/** Loads `iconv-lite` at the first call. */
function loadIconv(): Iconv {
  const load = createRequire(import.meta.url);
  return load(typeof ICONV_FILE === 'undefined' ? 'iconv-lite' : ICONV_FILE) as Iconv;
}
