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

type ParquetType = Omit<ParquetColumn, 'name' | 'element'> & {
  readonly element: Omit<SchemaElement, 'name'>;
};

const selectAsIs = (column: string): string => column;
const keepText = (value: string): string => value;

const STRING: ParquetType = {
  expression: selectAsIs,
  parse: keepText,
  element: { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } },
};
const JSON_TEXT: ParquetType = {
  expression: selectAsIs,
  parse: (value) => Buffer.from(value),
  element: { type: 'BYTE_ARRAY', logical_type: { type: 'JSON' } },
};

/** Microseconds since 1970, whatever the session's DateStyle and time zone are. */
const selectMicroseconds = (column: string): string => `(extract(epoch from ${column}) * 1000000)::bigint`;
const createTimestampType = (isAdjustedToUTC: boolean): ParquetType => ({
  expression: selectMicroseconds,
  parse: BigInt,
  element: { type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC, unit: 'MICROS' } },
});

/** By OID (src/include/catalog/pg_type.dat of PostgreSQL). What isn't here is written as its text. */
const PARQUET_TYPES: Readonly<Record<number, ParquetType>> = {
  16: { expression: selectAsIs, parse: (value) => value === 't', element: { type: 'BOOLEAN' } },
  17: {
    expression: (column) => `encode(${column}, 'hex')`,
    parse: (value) => Buffer.from(value, 'hex'),
    element: { type: 'BYTE_ARRAY' },
  },
  20: { expression: selectAsIs, parse: BigInt, element: { type: 'INT64' } },
  21: { expression: selectAsIs, parse: Number, element: { type: 'INT32' } },
  23: { expression: selectAsIs, parse: Number, element: { type: 'INT32' } },
  26: { expression: selectAsIs, parse: BigInt, element: { type: 'INT64' } },
  114: JSON_TEXT,
  700: { expression: selectAsIs, parse: Number, element: { type: 'FLOAT' } },
  701: { expression: selectAsIs, parse: Number, element: { type: 'DOUBLE' } },
  1082: {
    expression: (column) => `(${column} - date '1970-01-01')`,
    parse: Number,
    element: { type: 'INT32', converted_type: 'DATE' },
  },
  1114: createTimestampType(false),
  1184: createTimestampType(true),
  2950: {
    expression: selectAsIs,
    parse: keepText,
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
    const { element, ...form } = nested.has(column.oid) ? NESTED : chooseType(column);
    return { name, ...form, element: { name, repetition_type: 'OPTIONAL', ...element } };
  });
}

/** The types of arrays and rows, which Parquet has no flat form for. */
async function readNestedTypes(
  taskConnection: TaskConnection,
  columns: readonly OutputColumn[],
): Promise<ReadonlySet<number>> {
  const oids = columns
    .map(({ oid }) => oid)
    .filter((oid) => oid !== NUMERIC && PARQUET_TYPES[oid] === undefined);
  if (oids.length === 0) return new Set();
  const { rows } = (await taskConnection.query({
    text: `select oid::int8::text as oid from pg_type where oid = any($1::oid[]) and (typcategory in ('A', 'C') or oid in ('record'::regtype, 'record[]'::regtype))`,
    values: [oids],
  })) as QueryResult<{ oid: string }>;
  return new Set(rows.map(({ oid }) => Number(oid)));
}

const NESTED: ParquetType = { ...JSON_TEXT, expression: (column) => `to_json(${column})` };

function chooseType({ oid, modifier }: OutputColumn): ParquetType {
  return oid === NUMERIC ? createDecimalType(modifier) : (PARQUET_TYPES[oid] ?? STRING);
}

/** Both are packed into the type's modifier, the scale in 11 bits with a sign (numeric.c of PostgreSQL). */
function createDecimalType(modifier: number): ParquetType {
  const precision = ((modifier - 4) >> 16) & 0xffff;
  const scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
  if (modifier < 4 || precision > 38 || scale < 0 || scale > precision) return STRING;
  const width =
    precision <= 18
      ? ({ type: 'INT64' } as const)
      : ({ type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16 } as const);
  return {
    expression: selectAsIs,
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
