import { send, type ProtocolClient } from '../postgres/protocol.js';

/** How rows of a type come into sight: what decides up to where they are complete. */
export type CursorKind = 'time' | 'sequence' | 'transaction';

/** A SQL type that a cursor can have. */
export interface CursorType {
  /** As `format_type` writes it, without precision; whole numbers of any size are `bigint`. */
  readonly name: string;
  readonly kind: CursorKind;
  /** True where a value is an instant only together with a time zone. */
  readonly isLocal: boolean;
  /** Not more than any value. */
  readonly lowest: string;
  /**
   * SQL that writes an expression of the type as text: in full, in UTC, of one form whatever the session's settings, so
   * that two texts compare as their values do.
   */
  readonly text: (expression: string) => string;
}

const isoText =
  (format: string, shift: string) =>
  (expression: string): string =>
    `case when isfinite(${expression}) then to_char(${expression}${shift}, '${format}') else (${expression})::text end`;
const plainText = (expression: string): string => `(${expression})::text`;
/** Of any size, so that a column can grow; but the lowest must fit into the column that it is compared with. */
const whole = (lowest: string): CursorType => ({
  name: 'bigint',
  kind: 'sequence',
  isLocal: false,
  lowest,
  text: plainText,
});

const WITH_ZONE: CursorType = {
  name: 'timestamp with time zone',
  kind: 'time',
  isLocal: false,
  lowest: '-infinity',
  text: isoText('YYYY-MM-DD HH24:MI:SS.US"+00"', ` at time zone 'UTC'`),
};
const WITHOUT_ZONE: CursorType = {
  name: 'timestamp without time zone',
  kind: 'time',
  isLocal: true,
  lowest: '-infinity',
  text: isoText('YYYY-MM-DD HH24:MI:SS.US', ''),
};
const DATE: CursorType = {
  name: 'date',
  kind: 'time',
  isLocal: true,
  lowest: '-infinity',
  text: isoText('YYYY-MM-DD', ''),
};
const TRANSACTION: CursorType = {
  name: 'xid8',
  kind: 'transaction',
  isLocal: false,
  lowest: '0',
  text: plainText,
};

/** By the OIDs that PostgreSQL has given them for ever (https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat). */
const TYPES: ReadonlyMap<number, CursorType> = new Map([
  [1184, WITH_ZONE],
  [1114, WITHOUT_ZONE],
  [1082, DATE],
  [20, whole('-9223372036854775808')],
  [23, whole('-2147483648')],
  [21, whole('-32768')],
  [5069, TRANSACTION],
]);

/** The names of the types that a cursor can have. */
export const CURSOR_TYPES = [...new Set([...TYPES.values()].map(({ name }) => name))];

/** The cursor type with this OID; undefined for a type whose values do not tell which rows are new. */
export function findCursorType(oid: number): CursorType | undefined {
  return TYPES.get(oid);
}

/** The cursor type that a watermark was recorded with. */
export function findCursorTypeByName(name: string): CursorType | undefined {
  return [...TYPES.values()].find((type) => type.name === name);
}

/**
 * A value that a person wrote, as `text` writes it. A time without a zone is taken as UTC. The server
 * refuses one that is not of the type.
 */
export async function readCanonicalText(
  client: Pick<ProtocolClient, 'query'>,
  type: CursorType,
  value: string,
): Promise<string> {
  const given =
    type.kind === 'time' && !type.isLocal && BARE_TIME.test(value) ? `${value.trim()} UTC` : value;
  const { rows } = await send(client, `select ${type.text(`$1::text::${type.name}`)} as text`, [given]);
  return String(rows[0]?.text);
}

const BARE_TIME = /^\s*\d+-\d+-\d+(?:[ T]\d+:\d+(?::\d+(?:\.\d+)?)?)?\s*$/;

/** The later of two canonical texts of a type. */
export function chooseLater(type: CursorType, a: string, b: string): string {
  if (type.kind !== 'time') return BigInt(a) > BigInt(b) ? a : b;
  if (a === type.lowest || b === type.lowest) return a === type.lowest ? b : a;
  return a > b ? a : b;
}
