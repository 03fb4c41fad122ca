import { TextDecoder } from 'node:util';

/** An encoding of text. One name has the same meaning wherever a file is read. */
export interface Encoding {
  /** The usual name, for messages. */
  readonly name: string;
  /**
   * The name in PostgreSQL, if the server and this program read every byte in the same way. The server then decodes files
   * that it parses. Undefined if this program decodes every file.
   */
  readonly server: string | undefined;
  /** The name of the decoder: of `iconv-lite`, or one of the names that `codec.ts` handles itself. */
  readonly decoder: string;
}

/**
 * The encodings with one byte a character: the name in PostgreSQL, the decoder, and more names. The tables of PostgreSQL
 * and of `iconv-lite` are the same; a test compares all 256 bytes. The web's Encoding Standard differs: it reads
 * `latin1`, `iso-8859-9` and `iso-8859-11` as encodings of Windows.
 */
const SINGLE_BYTE: readonly (readonly [server: string, decoder: string, names: string])[] = [
  ['LATIN1', 'iso-8859-1', 'latin1 l1 cp819 ibm819'],
  ['LATIN2', 'iso-8859-2', 'latin2 l2'],
  ['LATIN3', 'iso-8859-3', 'latin3 l3'],
  ['LATIN4', 'iso-8859-4', 'latin4 l4'],
  ['LATIN5', 'iso-8859-9', 'latin5 l5'],
  ['LATIN6', 'iso-8859-10', 'latin6 l6'],
  ['LATIN7', 'iso-8859-13', 'latin7'],
  ['LATIN8', 'iso-8859-14', 'latin8'],
  ['LATIN9', 'iso-8859-15', 'latin9 l9'],
  ['LATIN10', 'iso-8859-16', 'latin10'],
  ['ISO_8859_5', 'iso-8859-5', 'cyrillic'],
  ['ISO_8859_6', 'iso-8859-6', 'arabic'],
  ['ISO_8859_7', 'iso-8859-7', 'greek greek8'],
  ['ISO_8859_8', 'iso-8859-8', 'hebrew visual logical iso-8859-8-i'],
  ['WIN1250', 'windows-1250', 'cp1250 x-cp1250'],
  ['WIN1251', 'windows-1251', 'cp1251 x-cp1251 win'],
  ['WIN1252', 'windows-1252', 'cp1252 x-cp1252'],
  ['WIN1253', 'windows-1253', 'cp1253 x-cp1253'],
  ['WIN1254', 'windows-1254', 'cp1254 x-cp1254'],
  ['WIN1255', 'windows-1255', 'cp1255 x-cp1255'],
  ['WIN1256', 'windows-1256', 'cp1256 x-cp1256'],
  ['WIN1257', 'windows-1257', 'cp1257 x-cp1257'],
  ['WIN1258', 'windows-1258', 'cp1258 x-cp1258 tcvn tcvn5712 vscii'],
  ['WIN866', 'cp866', 'ibm866 866 csibm866 windows-866 alt'],
  ['WIN874', 'windows-874', 'dos-874 tis-620'],
  ['KOI8R', 'koi8-r', 'koi8 koi'],
  ['KOI8U', 'koi8-u', 'koi8-ru'],
];

/**
 * The encodings that this program decodes in every file. PostgreSQL does not know those of the first lines. It knows the
 * others, but its tables lack characters or differ from those of other programs: `big5` even stores U+FFFD.
 */
const DECODED_HERE: readonly (readonly [decoder: string, names: string])[] = [
  ['utf-16le', 'ucs-2'],
  ['utf-16be', ''],
  ['utf-16', ''],
  ['macintosh', 'mac x-mac-roman'],
  ['x-mac-cyrillic', 'x-mac-ukrainian'],
  ['iso-2022-jp', ''],
  ['shift_jis', 'sjis x-sjis ms_kanji mskanji windows-31j csshiftjis windows-932 ms932 cp932'],
  ['euc-jp', 'x-euc-jp'],
  ['gbk', 'x-gbk gb2312 gb_2312 gb_2312-80 chinese csgb2312 windows-936 cp936'],
  ['gb18030', ''],
  ['big5', 'big5-hkscs cn-big5 x-x-big5 csbig5 windows-950 cp950'],
  ['euc-kr', 'windows-949 uhc cp949 korean ks_c_5601-1987 ksc_5601 ksc5601 cseuckr'],
];

/** The encoding of all text for which no other encoding is named. */
export const UTF8: Encoding = { name: 'UTF-8', server: 'UTF8', decoder: 'utf-8' };

let encodings: ReadonlyMap<string, Encoding> | undefined;

/** Returns all encodings by their simplified names. The map is made at the first call: few commands need it. */
function getEncodings(): ReadonlyMap<string, Encoding> {
  return (encodings ??= new Map([
    ...listNames(UTF8, 'utf-8'),
    ...SINGLE_BYTE.flatMap(([server, decoder, names]) =>
      listNames({ name: decoder, server, decoder }, `${server} ${names}`),
    ),
    ...DECODED_HERE.flatMap(([decoder, names]) =>
      listNames({ name: decoder, server: undefined, decoder }, names),
    ),
  ]));
}

/** Returns the encoding by each of its names. `names` are the names besides the name of the decoder. */
function listNames(encoding: Encoding, names: string): (readonly [string, Encoding])[] {
  const all = [encoding.decoder, ...names.split(' ').filter((name) => name !== '')];
  return all.map((name) => [simplify(name), encoding] as const);
}

/** Removes what PostgreSQL ignores in the name of an encoding: `ISO 8859-1` and `iso_8859_1` are the same. */
function simplify(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

/** The encodings of the Encoding Standard whose labels also stand for another encoding. */
const AMBIGUOUS: ReadonlySet<string> = new Set(['windows-1252', 'windows-1254', 'windows-874']);

/**
 * Finds an encoding by a name of PostgreSQL or of https://encoding.spec.whatwg.org/#names-and-labels. Returns undefined if
 * there is no encoding with this name, or if the two give the name to different encodings: `unicode`, `ascii`.
 */
export function findEncoding(name = 'utf-8'): Encoding | undefined {
  const found = getEncodings().get(simplify(name));
  if (found !== undefined || simplify(name) === 'unicode') return found;
  try {
    // The less usual labels: `csisolatin2`, `iso-ir-101`.
    const { encoding } = new TextDecoder(name);
    return AMBIGUOUS.has(encoding) ? undefined : getEncodings().get(simplify(encoding));
  } catch {
    return undefined;
  }
}

/** All names of encodings, for the search of a similar name. */
export function listEncodingNames(): readonly string[] {
  return [UTF8, ...new Set(getEncodings().values())].map(({ name }) => name);
}
