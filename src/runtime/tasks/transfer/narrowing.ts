import { EtlError } from '../../../errors.js';
import { findDatabaseError } from '../../postgres/sqlstate.js';
import { OID, type ValueType } from '../../postgres/type-form.js';
import { quoteIdentifier } from '../../sql/quote.js';
import { listNames } from '../../table/refuse.js';
import type { Table, TableColumn } from '../../table/describe.js';

/** A column that is read, with its type. */
export interface SourceColumn {
  readonly name: string;
  /** The type in SQL. */
  readonly type: string;
  readonly value: ValueType;
}

/** A column whose type in the table that is written can change a value. */
export interface NarrowedColumn extends SourceColumn {
  readonly target: TableColumn;
  /**
   * Returns the SQL condition that the table keeps a value. `column` is the quoted name. `types` are the types of the
   * source and of the target in SQL.
   */
  readonly condition: (column: string, types: { readonly from: string; readonly to: string }) => string;
}

type Condition = NarrowedColumn['condition'];

/** The value is the same after a cast to the type of the table and back. */
const isSameAfterCast: Condition = (column, { from, to }) =>
  `${column}::${to}::${from} operator(pg_catalog.=) ${column}`;
/** As `isSameAfterCast`, but by the text of the value, as COPY converts it. */
const isSameAfterText: Condition = (column, { from, to }) =>
  `${column}::pg_catalog.text::${to}::pg_catalog.text::${from} operator(pg_catalog.=) ${column}`;
/** As `isSameAfterText`, for integers: the text of a float can have an exponent, which an integer can't be read from. */
const isSameInteger: Condition = (column, { to }) => {
  const numeric = `pg_catalog.text::numeric${getBrackets(to)}`;
  return `${column}::pg_catalog.text::${to}::${numeric} operator(pg_catalog.=) ${column}::${numeric}`;
};
/** As `isSameAfterCast`, for texts: compares bytes, because a collation can treat different texts as equal. */
const isSameText: Condition = (column, { to }) =>
  `(${column}::${to}::pg_catalog.text collate pg_catalog."C") operator(pg_catalog.=)
     (${column}::pg_catalog.text collate pg_catalog."C")`;
/** The texts of the two types are the same. */
const hasSameText: Condition = (column, { to }) =>
  `${column}::pg_catalog.text::${to}::pg_catalog.text operator(pg_catalog.=) ${column}::pg_catalog.text`;
/** The type of the table reads the same from a text with and without its length or precision. */
const isExactText: Condition = (column, { to }) =>
  `${column}::pg_catalog.text::${to} operator(pg_catalog.=) ${column}::pg_catalog.text::${removeModifier(to)}`;
/** `money` rounds to the smallest unit of the currency. */
const isWholeUnits: Condition = (column, { to }) =>
  `${column}::pg_catalog.text::${to}::numeric${getBrackets(to)} operator(pg_catalog.=)
     ${column}::pg_catalog.text::numeric${getBrackets(to)}`;
/** The type of the table has no room for the date. */
const isNull: Condition = (column) => `${column} is null`;

/** Returns `[]` for an array. */
function getBrackets(type: string): '[]' | '' {
  return type.endsWith('[]') ? '[]' : '';
}

const INTEGERS: readonly number[] = [OID.int2, OID.int4, OID.int8];
const FLOATS: readonly number[] = [OID.float4, OID.float8];
const TEXTS: readonly number[] = [OID.text, OID.varchar, OID.bpchar];
const STAMPS: readonly number[] = [OID.timestamp, OID.timestamptz];
const CLOCKS: readonly number[] = [OID.time, OID.timetz];
const TIMES: readonly number[] = [...STAMPS, ...CLOCKS];

/** Types of which the second can change a value of the first, unless the value fulfils the condition. */
interface Rule {
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly condition: Condition;
  /** The rule is only for types of which this is true. */
  readonly applies?: (from: ValueType, to: ValueType) => boolean;
}

/** The first rule that fits counts. Types without a rule keep every value, or the server refuses it. */
const RULES: readonly Rule[] = [
  { from: TEXTS, to: TEXTS, condition: isSameText, applies: isNarrowerText },
  { from: TEXTS, to: [OID.name, OID.char], condition: isSameText },
  { from: TEXTS, to: [OID.numeric, OID.interval, ...TIMES], condition: isExactText, applies: hasModifier },
  { from: STAMPS, to: CLOCKS, condition: isNull },
  { from: STAMPS, to: [OID.date], condition: isSameAfterText },
  { from: STAMPS, to: STAMPS, condition: isSameAfterText, applies: hasNarrowerModifier },
  { from: [OID.timetz], to: [OID.time], condition: isSameAfterText },
  { from: [OID.numeric, ...INTEGERS, ...FLOATS], to: [OID.money], condition: isWholeUnits },
  { from: [...INTEGERS, ...FLOATS], to: [OID.numeric], condition: isSameAfterText, applies: hasModifier },
  { from: [OID.numeric], to: FLOATS, condition: isSameAfterText },
  { from: [OID.float8], to: [OID.float4], condition: isSameAfterText },
  { from: [OID.int8], to: FLOATS, condition: isSameInteger },
  { from: [OID.int4], to: [OID.float4], condition: isSameInteger },
  { from: INTEGERS, to: [OID.oid, OID.xid, OID.cid], condition: hasSameText },
  ...[OID.numeric, OID.interval, ...CLOCKS].map((oid) => ({
    from: [oid],
    to: [oid],
    condition: isSameAfterCast,
    applies: hasNarrowerModifier,
  })),
];

/** Returns the condition under which a value of one type is kept by another type. Undefined if every value is kept. */
function findCondition(from: ValueType, to: ValueType): Condition | undefined {
  if (from.isArray !== to.isArray) return undefined;
  const rule = RULES.find((each) => each.from.includes(from.oid) && each.to.includes(to.oid));
  return rule?.applies?.(from, to) === false ? undefined : rule?.condition;
}

/** Says whether a type has a length or a precision. */
function hasModifier(_from: ValueType, to: ValueType): boolean {
  return to.modifier !== -1;
}

/** Says whether a text type is shorter, or pads or cuts the blanks at the end. */
function isNarrowerText(from: ValueType, to: ValueType): boolean {
  if (to.modifier === -1) return false;
  if (to.oid === OID.bpchar && from.oid !== OID.bpchar) return true;
  return from.modifier === -1 || from.modifier > to.modifier;
}

/** Says whether a type keeps fewer digits after the point. Both types have the same name, or are timestamps. */
function hasNarrowerModifier(from: ValueType, to: ValueType): boolean {
  if (to.modifier === -1 || to.modifier === from.modifier) return false;
  if (from.modifier === -1) return true;
  if (to.oid === OID.numeric) return readScale(from.modifier) > readScale(to.modifier);
  // The modifier of an interval also names its fields, so any difference counts.
  return to.oid === OID.interval || from.modifier > to.modifier;
}

/** Reads the scale of a numeric: a signed number of 11 bits (numeric.c of PostgreSQL). `numeric(10,2)` gives 2. */
function readScale(modifier: number): number {
  return (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
}

/** Removes length and precision from a type: `timestamp(0) without time zone` becomes `timestamp without time zone`. */
function removeModifier(type: string): string {
  return type.replace(/\([^)]*\)/, '');
}

/** Finds the columns whose values the table can change: by rounding, by cutting off, or because the type has no room. */
export function findNarrowedColumns(
  columns: readonly SourceColumn[],
  table: Table,
): readonly NarrowedColumn[] {
  return columns.flatMap((column) => {
    const target = table.columns.find(({ name }) => name === column.name);
    const condition = target && findCondition(column.value, target.value);
    return target && condition ? [{ ...column, target, condition }] : [];
  });
}

/** The text in the error of the server for a value that the table would change, before the index of the column. */
const MARK = 'etl: the table would change a value of column ';

/**
 * Builds the select list of the columns. Reading a value that the table would change is an error of the server, which
 * `describeNarrowing` explains: a cast of a text to an integer. The text depends on the row, because the planner would
 * compute a constant before the first row is read.
 */
export function buildGuardedList(
  columns: readonly SourceColumn[],
  narrowed: ReadonlyMap<string, string>,
): string {
  return columns
    .map(({ name }, index) => {
      const column = quoteIdentifier(name);
      const condition = narrowed.get(name);
      if (condition === undefined) return column;
      const text = `pg_catalog."left"(${column}::pg_catalog.text, 0) operator(pg_catalog.||) '${MARK}${index}'`;
      const fail = `(${text})::int operator(pg_catalog.=) 0`;
      return `case when (${condition}) is not false then ${column} when ${fail} then ${column} end as ${column}`;
    })
    .join(', ');
}

/**
 * Returns the error ETL-3532 if the error is that of `buildGuardedList`. Returns any other error unchanged. `from` is the
 * ID of the connection that is read.
 */
export function describeNarrowing(
  error: unknown,
  columns: readonly SourceColumn[],
  { from, table }: { readonly from: string; readonly table: Table },
): unknown {
  const message = findDatabaseError(error)?.message ?? '';
  const index = message.indexOf(MARK);
  const column = index === -1 ? undefined : columns[Number.parseInt(message.slice(index + MARK.length), 10)];
  const target = table.columns.find(({ name }) => name === column?.name);
  if (column === undefined || target === undefined) return error;
  const name = quoteIdentifier(column.name);
  return new EtlError('ETL-3532', {
    what: `table ${table.sql} would change a value of column ${listNames([column.name])}`,
    why: `the column is ${column.type} in "${from}", but ${target.type} in the table`,
    fix: `change the table (alter table ${table.sql} alter column ${name} type ${column.type}), or choose what PostgreSQL makes of the value in \`query\`: select …, ${name}::${target.type} as ${name}`,
    data: 'nothing was written',
  });
}
