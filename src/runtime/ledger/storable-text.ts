import { type ProtocolClient, send } from '../postgres/protocol.js';

/** A text of the ledger is cut after this number of UTF-16 units. Nobody reads a longer message. */
const LONGEST = 65_536;
/** The characters that no database can store: NUL, and half of a surrogate pair. */
const NEVER = /[\p{Surrogate}\0]/gu;
/** The characters that a database may not be able to store, by its encoding. All other encodings can store ASCII only. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  UTF8: NEVER,
  // PostgreSQL converts nothing for this encoding, and stores the bytes of UTF-8.
  SQL_ASCII: NEVER,
  LATIN1: /[\0\u{100}-\u{10ffff}]/gu,
};
const NOT_ASCII = /[\0\P{ASCII}]/gu;

/** Makes a text of any origin, such as the message of an error, storable in a database. */
export type ToStorable = (text: string) => string;

/**
 * Creates the function that makes texts storable in the database of `client`. A character that the database can't hold
 * becomes its code, such as `\x00`, `\ud83d` or `\u20ac`. A text that is too long is cut. `texts` are the texts to store:
 * the encoding of the database is read only if a text is not ASCII.
 */
export async function createToStorable(
  client: Pick<ProtocolClient, 'query'>,
  texts: readonly string[],
): Promise<ToStorable> {
  const isAscii = texts.every((text) => !/\P{ASCII}/u.test(text));
  const refused = isAscii ? NEVER : (REFUSED[await readEncoding(client)] ?? NOT_ASCII);
  return (text) => {
    const cut =
      text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${text.length - LONGEST} more characters)` : text;
    return cut.replace(refused, formatCode);
  };
}

async function readEncoding(client: Pick<ProtocolClient, 'query'>): Promise<string> {
  const { rows } = await send(client, `select pg_catalog.current_setting('server_encoding') as encoding`);
  return String(rows[0]?.encoding);
}

/** Formats the code of a character as JavaScript writes it: `\x00`, `\u20ac`, `\u{1f600}`. */
function formatCode(character: string): string {
  const code = (character.codePointAt(0) ?? 0).toString(16);
  if (code.length <= 2) return `\\x${code.padStart(2, '0')}`;
  return code.length <= 4 ? `\\u${code.padStart(4, '0')}` : `\\u{${code}}`;
}

/** Changes all texts of a JSON value, at any depth. The names of properties stay. */
export function mapTexts(value: unknown, change: ToStorable): unknown {
  if (typeof value === 'string') return change(value);
  if (Array.isArray(value)) return value.map((each) => mapTexts(each, change));
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, mapTexts(each, change)]));
}

/** Lists all texts of a JSON value, at any depth. */
export function listTexts(value: unknown): readonly string[] {
  const texts: string[] = [];
  mapTexts(value, (text) => {
    texts.push(text);
    return text;
  });
  return texts;
}
