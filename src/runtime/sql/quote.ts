import { EtlError } from '../../errors.js';
import { showValue } from '../json.js';

/** PostgreSQL cuts a longer name (NAMEDATALEN), and then two different names can become the same name. */
const MAX_BYTES = 63;

/**
 * The length of the longest valid `schema.table`: two names in quotes, in which each character is a doubled quote, and a
 * dot. A longer text is not split at all.
 */
const MAX_TABLE_LENGTH = 2 * (2 * MAX_BYTES + '""'.length) + '.'.length;

/**
 * Matches one part of a table name at `lastIndex`: a name in quotes (group 1) or a name that SQL accepts without quotes
 * (group 2), and then a dot, or nothing at the end of the text (group 3). The flag `y` allows no characters before the
 * match.
 */
const PART = /(?:"((?:[^"]|"")*)"|([a-z_\u0080-\uffff][\w$\u0080-\uffff]*))(\.|$)/iy;

/**
 * Returns a name as a quoted identifier, which means exactly the characters of the name. Throws `EtlError` ETL-3008 for
 * a name that PostgreSQL would refuse, cut or change.
 */
export function quoteIdentifier(name: string): string {
  const problem = describeProblem(name);
  if (problem === undefined) return `"${name.replaceAll('"', '""')}"`;
  throw new EtlError('ETL-3008', {
    what: `expected a name for PostgreSQL, got ${showValue(name)}`,
    why: problem,
  });
}

/**
 * Returns `table` or `schema.table` with quotes. A part without quotes is converted to lower case, as in SQL. A name
 * with other characters needs quotes: `staging."Order Items"`. Throws `EtlError` ETL-3008 for a name that is not valid.
 */
export function quoteTable(table: string): string {
  const parts = splitParts(table);
  if (parts && parts.length <= 2) return parts.map(quoteIdentifier).join('.');
  throw new EtlError('ETL-3008', {
    what: `expected a table such as "orders" or "staging.orders", got ${showValue(table)}`,
    fix: 'put a name with other characters than letters, digits, _ and $ in double quotes: staging."Order Items"',
  });
}

/**
 * Returns the name of a built-in type with its schema, so that it means this type whatever the `search_path` is: `text`
 * becomes `pg_catalog.text`. A name that is a word of the language, such as `bigint` or `timestamp(3) with time zone`, can't
 * have a schema and needs none.
 */
export function qualifyType(type: string): string {
  return TYPE_WORDS.test(type) || type.startsWith('pg_catalog.') ? type : `pg_catalog.${type}`;
}

/** Matches the types that the grammar of PostgreSQL has words for. */
const TYPE_WORDS =
  /^(bigint|bit|boolean|character|double precision|integer|interval|numeric|real|smallint|time|timestamp)\b/;

/** Returns the reason why PostgreSQL would refuse, cut or change a name. Returns undefined for a good name. */
function describeProblem(name: string): string | undefined {
  if (name === '') return 'the name is empty';
  if (name.includes('\0')) return 'the name holds a NUL character';
  if (/\p{Surrogate}/u.test(name)) return 'the name holds half of a surrogate pair';
  const bytes = Buffer.byteLength(name);
  return bytes > MAX_BYTES
    ? `the name has ${bytes} bytes, and PostgreSQL keeps only ${MAX_BYTES}`
    : undefined;
}

/**
 * Splits a table name into its parts, without their quotes: `Staging."Order ""Items"""` gives `['staging', 'Order
 * "Items"']`. A part without quotes is converted to lower case. Returns undefined if the text is not a list of names
 * with dots between them, or is too long.
 */
function splitParts(table: string): string[] | undefined {
  const parts: string[] = [];
  if (table.length > MAX_TABLE_LENGTH) return undefined;
  // `exec` of a regular expression with the flag `y` continues where the match before has ended.
  PART.lastIndex = 0;
  for (let part = PART.exec(table); part; part = PART.exec(table)) {
    const [, quoted, bare = '', separator] = part;
    parts.push(quoted === undefined ? lowerAscii(bare) : quoted.replaceAll('""', '"'));
    const isAtEnd = separator === '';
    if (isAtEnd) return parts;
  }
  return undefined;
}

/** Converts only ASCII letters, because the server converts other letters only in single-byte encodings. */
function lowerAscii(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/**
 * Returns a text as an SQL constant, which means exactly the characters of the text, for every value of
 * `standard_conforming_strings`. Use this only where a statement can't have parameters, and bind values everywhere
 * else. The text must not contain a NUL character. Returns the same as `escapeLiteral` of pg, which is not imported
 * because pg is loaded later, while the server already answers.
 */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return quoted.includes('\\') ? ` E${quoted}` : quoted;
}

/** Removes the quotes of a quoted identifier: `"my ""table"""` -> `my "table"`. Any other text stays. */
export function unquoteIdentifier(identifier: string): string {
  return identifier.startsWith('"') ? identifier.slice(1, -1).replaceAll('""', '"') : identifier;
}
