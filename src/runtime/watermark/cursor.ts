import { send, type ProtocolClient } from '../postgres/protocol.js';

/**
 * Decides how the high watermark of a cursor is found.
 *
 * - `time`: the transaction that writes the row stamps it with its own time
 * - `sequence`: the number comes from a sequence
 * - `transaction`: the ID of the transaction that writes the row
 */
export type CursorKind = 'time' | 'sequence' | 'transaction';

/** A SQL type that a cursor can have. */
export interface CursorType {
  /** The name that `format_type` prints, without precision. Whole numbers of any size have the name `bigint`. */
  readonly name: string;
  /** The name in SQL, whatever the `search_path` is. */
  readonly sql: string;
  readonly kind: CursorKind;
  /** True if a value becomes an instant only together with a time zone, as for `timestamp` and `date`. */
  readonly isLocal: boolean;
  /** Less than or equal to every value of the type. */
  readonly lowest: string;
  /**
   * Returns SQL that converts an expression of the type to canonical text: full precision, UTC, and the same form under
   * all settings of the session. Two such texts compare in the same order as their values.
   */
  readonly toText: (expression: string) => string;
}

/** Returns the name of a built-in type in SQL. The names with several words and `bigint` are words of the language. */
function toSqlName(name: string): string {
  return name === 'date' || name === 'xid8' ? `pg_catalog.${name}` : name;
}

/**
 * Creates a cursor type whose values are times. `format` is the format of to_char for the canonical text. `shift` is
 * SQL after a value that converts an instant to UTC. A type without `shift` has local times. `infinity` and
 * `-infinity`, which to_char can't format, stay as they are.
 */
function createTimeType(name: string, format: string, shift = ''): CursorType {
  return {
    name,
    sql: toSqlName(name),
    kind: 'time',
    isLocal: shift === '',
    lowest: '-infinity',
    toText: (value) =>
      `case when pg_catalog.isfinite(${value}) then pg_catalog.to_char(${value}${shift}, '${format}')
         else (${value})::pg_catalog.text end`,
  };
}

/** Creates a cursor type whose values are whole numbers. The canonical text is the number in decimal digits. */
function createNumberType(name: string, kind: CursorKind, lowest: string): CursorType {
  return {
    name,
    sql: toSqlName(name),
    kind,
    isLocal: false,
    lowest,
    toText: (expression) => `(${expression})::pg_catalog.text`,
  };
}

/**
 * The cursor types by their OID. PostgreSQL never changes these OIDs
 * (https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat).
 *
 * All sizes of whole numbers have one name, so a column may change from `int` to `bigint`. `lowest` differs, because
 * the value must fit into the column that it is compared with.
 */
const TYPES: ReadonlyMap<number, CursorType> = new Map([
  [1184, createTimeType('timestamp with time zone', 'YYYY-MM-DD HH24:MI:SS.US"+00"', ` at time zone 'UTC'`)],
  [1114, createTimeType('timestamp without time zone', 'YYYY-MM-DD HH24:MI:SS.US')],
  [1082, createTimeType('date', 'YYYY-MM-DD')],
  [20, createNumberType('bigint', 'sequence', '-9223372036854775808')],
  [23, createNumberType('bigint', 'sequence', '-2147483648')],
  [21, createNumberType('bigint', 'sequence', '-32768')],
  [5069, createNumberType('xid8', 'transaction', '0')],
]);

/** The names of the types that a cursor can have, for error messages. */
export const CURSOR_TYPES = [...new Set([...TYPES.values()].map(({ name }) => name))];

/**
 * Finds the cursor type with this OID. Returns undefined if a cursor can't have the type, because its values do not
 * show which rows are new.
 */
export function findCursorType(oid: number): CursorType | undefined {
  return TYPES.get(oid);
}

/** Finds the cursor type by the name that the ledger has recorded. Returns undefined if no cursor type has the name. */
export function findCursorTypeByName(name: string): CursorType | undefined {
  return [...TYPES.values()].find((type) => type.name === name);
}

/**
 * Converts a value that a person wrote to canonical text (see `CursorType.toText`). A time without a zone means UTC.
 * Throws the server's error if the value is not of the type.
 */
export async function readCanonicalText(
  client: Pick<ProtocolClient, 'query'>,
  type: CursorType,
  value: string,
): Promise<string> {
  const given =
    type.kind === 'time' && !type.isLocal && BARE_TIME.test(value) ? `${value.trim()} UTC` : value;
  const { rows } = await send(client, `select ${type.toText(`$1::pg_catalog.text::${type.sql}`)} as text`, [
    given,
  ]);
  return String(rows[0]?.text);
}

/** Matches a date, or a date and a time, without a zone: `2024-05-01`, `2024-05-01 10:30`, `2024-05-01T10:30:00.5`. */
const BARE_TIME = /^\s*\d+-\d+-\d+(?:[ T]\d+:\d+(?::\d+(?:\.\d+)?)?)?\s*$/;

/**
 * Returns the later of two canonical texts of one type: the higher number, or the later time. Times compare as texts,
 * except `-infinity`, which is before every time.
 */
export function chooseLater(type: CursorType, a: string, b: string): string {
  if (type.kind !== 'time') return BigInt(a) > BigInt(b) ? a : b;
  if (a === type.lowest || b === type.lowest) return a === type.lowest ? b : a;
  return a > b ? a : b;
}
