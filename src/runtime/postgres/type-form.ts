/**
 * The description of PostgreSQL's types: how each is written and read as text and as binary. Every path uses it: COPY of
 * rows (`value-text.ts`), the parameters of a session (`parameter.ts`), `session.rows` (`copy/columns.ts`), transfer and
 * unload.
 */

/** The OIDs of PostgreSQL's own types, from src/include/catalog/pg_type.dat. They are the same in every database. */
export const OID = {
  bool: 16,
  bytea: 17,
  char: 18,
  name: 19,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  oid: 26,
  xid: 28,
  cid: 29,
  json: 114,
  xml: 142,
  point: 600,
  box: 603,
  float4: 700,
  float8: 701,
  circle: 718,
  money: 790,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  interval: 1186,
  timetz: 1266,
  numeric: 1700,
  uuid: 2950,
  jsonb: 3802,
} as const;

/** The type of the values of a column, behind all domains. */
export interface ValueType {
  /** The OID of the type. For an array: the OID of the type of its items. */
  readonly oid: number;
  readonly isArray: boolean;
  /** The length or precision as `pg_attribute.atttypmod` has it. -1 if the type has none. */
  readonly modifier: number;
}

/**
 * The rule by which JavaScript values become the text of a type. Strings, numbers, booleans and dates are written in the same way for
 * every type except `json`. The forms differ in other values:
 *
 * - `text`: bytes are UTF-8, as pg sends them; an array or an object is JSON
 * - `json`: every value is JSON
 * - `point`, `circle`: an object that pg reads, such as `{ x: 1, y: 2 }`, is written in PostgreSQL's notation
 * - `clock`: a date is its time of day
 * - `any`: bytes are hexadecimal (`bytea`), an array is a PostgreSQL array, and an object is JSON
 */
export type TextForm = 'text' | 'json' | 'point' | 'circle' | 'clock' | 'any';

const TEXT_FORMS: ReadonlyMap<number, TextForm> = new Map<number, TextForm>([
  [OID.text, 'text'],
  [OID.varchar, 'text'],
  [OID.bpchar, 'text'],
  [OID.name, 'text'],
  [OID.xml, 'text'],
  [OID.json, 'json'],
  [OID.jsonb, 'json'],
  [OID.point, 'point'],
  [OID.circle, 'circle'],
  [OID.time, 'clock'],
  [OID.timetz, 'clock'],
]);

/** Returns the text form of a type that is not an array. */
export function findTextForm(oid: number): TextForm {
  return TEXT_FORMS.get(oid) ?? 'any';
}

/** The types whose input accepts no fraction and no exponent of a number, not even `1.0`. */
const WHOLE: ReadonlySet<number> = new Set([
  OID.bool,
  OID.int2,
  OID.int4,
  OID.int8,
  OID.oid,
  OID.xid,
  OID.cid,
  OID.date,
]);

/** Says whether a type has only whole numbers, or reads whole numbers as its values. */
export function isWholeType(oid: number): boolean {
  return WHOLE.has(oid);
}

/** Returns the character between the items of an array (`pg_type.typdelim`). */
export function getDelimiter(oid: number): ',' | ';' {
  return oid === OID.box ? ';' : ',';
}

/** OIDs from here on are assigned by initdb or later, so they differ between databases. */
const FIRST_GENERATED_OID = 10_000;

/**
 * Says whether the bytes of a type's binary format mean the same in every database. They do not for the types of an
 * extension or a user. The bytes of `regclass` and its like are the OID of an object, and another database has another
 * object with this OID. `aclitem` has no binary format. `type` is the name of the type in SQL.
 */
export function isBinaryPortable(oid: number, type: string): boolean {
  return oid < FIRST_GENERATED_OID && !/^(?:reg|aclitem)/.test(type);
}

/** The types that have the same binary format as `text`. */
const TEXTS: ReadonlySet<number> = new Set([OID.text, OID.bpchar, OID.varchar]);

/** Says whether two types of PostgreSQL have the same binary format. */
export function isSameBinary(oid: number, other: number): boolean {
  return oid === other || (TEXTS.has(oid) && TEXTS.has(other));
}
