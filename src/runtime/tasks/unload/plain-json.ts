/** The OIDs of the types whose values are a single line in JSON (src/include/catalog/pg_type.dat of PostgreSQL). */
const SINGLE_LINE_TYPES: ReadonlySet<number> = new Set([
  16, // bool
  17, // bytea
  18, // "char"
  19, // name
  20, // int8
  21, // int2
  23, // int4
  25, // text
  26, // oid
  700, // float4
  701, // float8
  790, // money
  869, // inet
  1042, // bpchar
  1043, // varchar
  1082, // date
  1083, // time
  1114, // timestamp
  1184, // timestamptz
  1186, // interval
  1266, // timetz
  1700, // numeric
  2950, // uuid
  3802, // jsonb
]);

/** Returns true if `row_to_json` never writes a line break for values of this type. */
export function isSingleLineJson(oid: number): boolean {
  return SINGLE_LINE_TYPES.has(oid);
}
