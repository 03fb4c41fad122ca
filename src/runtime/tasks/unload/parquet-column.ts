import type { SchemaElement } from 'hyparquet';
import type { QueryResult } from 'pg';
import type { OutputColumn } from './unload-query.js';
import type { TaskConnection } from '../../postgres/task-connection.js';

/** A column of a query, as it is asked for and as a Parquet file has it. */
export interface ParquetColumn {
  readonly name: string;
  /** The value as text that `parse` reads; `column` is its quoted name. */
  readonly expression: (column: string) => string;
  readonly parse: (text: string) => unknown;
  readonly element: SchemaElement;
}

type Form = Omit<ParquetColumn, 'name' | 'element'> & { readonly element: Omit<SchemaElement, 'name'> };

const itself = (column: string): string => column;
const text = (value: string): string => value;

const STRING: Form = {
  expression: itself,
  parse: text,
  element: { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } },
};
const JSON_TEXT: Form = {
  expression: itself,
  parse: (value) => Buffer.from(value),
  element: { type: 'BYTE_ARRAY', logical_type: { type: 'JSON' } },
};

/** Microseconds since 1970, whatever the session's DateStyle and time zone are. */
const microseconds = (column: string): string => `(extract(epoch from ${column}) * 1000000)::bigint`;
const timestamp = (isAdjustedToUTC: boolean): Form => ({
  expression: microseconds,
  parse: BigInt,
  element: { type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC, unit: 'MICROS' } },
});

/** By OID (src/include/catalog/pg_type.dat of PostgreSQL). What isn't here is written as its text. */
const FORMS: Readonly<Record<number, Form>> = {
  16: { expression: itself, parse: (value) => value === 't', element: { type: 'BOOLEAN' } },
  17: {
    expression: (column) => `encode(${column}, 'hex')`,
    parse: (value) => Buffer.from(value, 'hex'),
    element: { type: 'BYTE_ARRAY' },
  },
  20: { expression: itself, parse: BigInt, element: { type: 'INT64' } },
  21: { expression: itself, parse: Number, element: { type: 'INT32' } },
  23: { expression: itself, parse: Number, element: { type: 'INT32' } },
  26: { expression: itself, parse: BigInt, element: { type: 'INT64' } },
  114: JSON_TEXT,
  700: { expression: itself, parse: Number, element: { type: 'FLOAT' } },
  701: { expression: itself, parse: Number, element: { type: 'DOUBLE' } },
  1082: {
    expression: (column) => `(${column} - date '1970-01-01')`,
    parse: Number,
    element: { type: 'INT32', converted_type: 'DATE' },
  },
  1114: timestamp(false),
  1184: timestamp(true),
  2950: {
    expression: itself,
    parse: text,
    element: { type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16, logical_type: { type: 'UUID' } },
  },
  3802: JSON_TEXT,
};

const NUMERIC = 1700;

/**
 * How the columns of a query are written: so that no value loses anything. A `numeric` without a precision, or with
 * more digits than Parquet's 38, is its text; arrays and rows are JSON.
 */
export async function describeParquetColumns(
  taskConnection: TaskConnection,
  columns: readonly OutputColumn[],
): Promise<readonly ParquetColumn[]> {
  const nested = await readNestedTypes(taskConnection, columns);
  return columns.map((column) => {
    const { name } = column;
    const { element, ...form } = nested.has(column.oid) ? NESTED : getForm(column);
    return { name, ...form, element: { name, repetition_type: 'OPTIONAL', ...element } };
  });
}

/** The types of arrays and rows, which Parquet has no flat form for. */
async function readNestedTypes(
  taskConnection: TaskConnection,
  columns: readonly OutputColumn[],
): Promise<ReadonlySet<number>> {
  const oids = columns.map(({ oid }) => oid).filter((oid) => oid !== NUMERIC && FORMS[oid] === undefined);
  if (oids.length === 0) return new Set();
  const { rows } = (await taskConnection.query({
    text: `select oid::int8::text as oid from pg_type where oid = any($1::oid[]) and (typcategory in ('A', 'C') or oid in ('record'::regtype, 'record[]'::regtype))`,
    values: [oids],
  })) as QueryResult<{ oid: string }>;
  return new Set(rows.map(({ oid }) => Number(oid)));
}

const NESTED: Form = { ...JSON_TEXT, expression: (column) => `to_json(${column})` };

function getForm({ oid, modifier }: OutputColumn): Form {
  return oid === NUMERIC ? createDecimalForm(modifier) : (FORMS[oid] ?? STRING);
}

/** Both are packed into the type's modifier, the scale in 11 bits with a sign (numeric.c of PostgreSQL). */
function createDecimalForm(modifier: number): Form {
  const precision = ((modifier - 4) >> 16) & 0xffff;
  const scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
  if (modifier < 4 || precision > 38 || scale < 0 || scale > precision) return STRING;
  const width =
    precision <= 18
      ? ({ type: 'INT64' } as const)
      : ({ type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16 } as const);
  return {
    expression: itself,
    // The server writes as many digits after the point as the scale says.
    parse: (value) => BigInt(value.replace('.', '')),
    element: {
      ...width,
      converted_type: 'DECIMAL',
      logical_type: { type: 'DECIMAL', precision, scale },
      precision,
      scale,
    },
  };
}
