import { EtlError } from '../../errors.js';
import { showValue } from '../json.js';

/** PostgreSQL cuts a longer name (NAMEDATALEN), and then two names can be one. */
const MAX_BYTES = 63;

/** `"…"` or a bare name that SQL would take, up to the end or to a dot. */
const PART = /(?:"((?:[^"]|"")*)"|([a-z_\u0080-\uffff][\w$\u0080-\uffff]*))(\.|$)/iy;

/**
 * A name as a quoted identifier: it means exactly these characters, whatever they are. Throws `EtlError` ETL-3008
 * for a name that PostgreSQL would refuse, cut or change.
 */
export function quoteIdentifier(name: string): string {
  const problem = describeProblem(name);
  if (problem === undefined) return `"${name.replaceAll('"', '""')}"`;
  throw new EtlError('ETL-3008', {
    what: `Expected a name for something in the database, got ${showValue(name)}`,
    why: problem,
  });
}

/**
 * `table` or `schema.table`, quoted. A bare part is read as SQL reads it, in lower case; any other is given in
 * quotes: `staging."Order Items"`. Throws `EtlError` ETL-3008.
 */
export function quoteTable(table: string): string {
  const parts = splitParts(table);
  if (parts && parts.length <= 2) return parts.map(quoteIdentifier).join('.');
  throw new EtlError('ETL-3008', {
    what: `Expected a table such as "orders" or "staging.orders", got ${showValue(table)}`,
    fix: 'Put a name with other characters than letters, digits, _ and $ in double quotes: staging."Order Items"',
  });
}

function describeProblem(name: string): string | undefined {
  if (name === '') return 'It is empty.';
  if (name.includes('\0')) return 'It holds a NUL character.';
  if (/\p{Surrogate}/u.test(name)) return 'It holds half of a surrogate pair.';
  const bytes = Buffer.byteLength(name);
  return bytes > MAX_BYTES ? `It has ${bytes} bytes; PostgreSQL keeps ${MAX_BYTES}.` : undefined;
}

function splitParts(table: string): string[] | undefined {
  const parts: string[] = [];
  if (table.length > 4 * MAX_BYTES + 5) return undefined;
  PART.lastIndex = 0;
  for (let part = PART.exec(table); part; part = PART.exec(table)) {
    const [, quoted, bare = '', dot] = part;
    parts.push(quoted === undefined ? lowerAscii(bare) : quoted.replaceAll('""', '"'));
    if (dot === '') return parts;
  }
  return undefined;
}

/** The server folds other letters only in single-byte encodings. */
function lowerAscii(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/**
 * A text as an SQL constant that means exactly these characters, whatever `standard_conforming_strings` is. Only for
 * places where a statement takes no parameters: the value of a query is bound. The same as `escapeLiteral` of pg, which is
 * not imported because pg is loaded while the server already answers. The text must hold no NUL character.
 */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return quoted.includes('\\') ? ` E${quoted}` : quoted;
}
