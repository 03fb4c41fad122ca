import type { SchemaElement } from 'hyparquet';
import type { OutputColumn } from '../query-columns.js';
import { formatArrayAsJson, readNestedTypes } from './nested-column.js';
import type { TaskConnection } from '../../postgres/task-connection.js';

/** A column of a query: how the server writes its values, and how a Parquet file stores them. */
export interface ParquetColumn {
  readonly name: string;
  /** Returns the SQL expression whose text `parse` reads. `column` is the quoted name of the column. */
  readonly expression: (column: string) => string;
  /** Turns the text into the value for the Parquet library. */
  readonly parse: (text: string) => unknown;
  /** The column in the schema of the file. */
  readonly element: SchemaElement;
}

/** How values of one PostgreSQL type are stored: a `ParquetColumn` without a name. */
type ParquetType = Omit<ParquetColumn, 'name' | 'element'> & {
  readonly element: Omit<SchemaElement, 'name'>;
};

const selectAsIs = (column: string): string => column;
const keepText = (value: string): string => value;

/** A text in UTF-8. */
const STRING: ParquetType = {
  expression: selectAsIs,
  parse: keepText,
  element: { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } },
};
/**
 * A JSON text, as bytes. The column has no `converted_type` while rows are written, so that the library writes the bytes
 * unchanged.
 */
const JSON_TEXT: ParquetType = {
  expression: selectAsIs,
  parse: (value) => Buffer.from(value),
  element: { type: 'BYTE_ARRAY', logical_type: { type: 'JSON' } },
};

/**
 * Selects a timestamp as microseconds since 1970. The result does not depend on DateStyle and TimeZone of the session.
 */
const selectMicroseconds = (column: string): string =>
  `(extract(epoch from ${column}) operator(pg_catalog.*) 1000000)::bigint`;
/** Creates the type of a timestamp. `isAdjustedToUTC` is true for a timestamp with time zone. */
const createTimestampType = (isAdjustedToUTC: boolean): ParquetType => ({
  expression: selectMicroseconds,
  parse: BigInt,
  element: { type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC, unit: 'MICROS' } },
});

/**
 * By the OID of the PostgreSQL type (src/include/catalog/pg_type.dat). A type that is not in the list is written as
 * text.
 */
const PARQUET_TYPES: Readonly<Record<number, ParquetType>> = {
  16: { expression: selectAsIs, parse: (value) => value === 't', element: { type: 'BOOLEAN' } },
  17: {
    expression: (column) => `pg_catalog.encode(${column}, 'hex')`,
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

/** The OID of the type `numeric`. */
const NUMERIC = 1700;

/**
 * Chooses how to store the columns of a query without loss. A `numeric` without a precision, or with more than the 38
 * digits of Parquet, is stored as text. Arrays and rows are stored as JSON.
 */
export async function describeParquetColumns(
  taskConnection: TaskConnection,
  columns: readonly OutputColumn[],
): Promise<readonly ParquetColumn[]> {
  const unknown = columns
    .map(({ oid }) => oid)
    .filter((oid) => oid !== NUMERIC && PARQUET_TYPES[oid] === undefined); // All other types are known not to be nested.
  const { arrays, rows } = await readNestedTypes(taskConnection, unknown);
  return columns.map((column) => {
    const { name, oid } = column;
    const { element, ...form } = arrays.has(oid) ? ARRAY : rows.has(oid) ? ROW : chooseType(column);
    return { name, ...form, element: { name, repetition_type: 'OPTIONAL', ...element } };
  });
}

/** An array or a row, stored as JSON. */
const ARRAY: ParquetType = { ...JSON_TEXT, expression: formatArrayAsJson };
const ROW: ParquetType = { ...JSON_TEXT, expression: (column) => `pg_catalog.to_json(${column})` };

/** Returns how to store a type that is not nested. */
function chooseType({ oid, modifier }: OutputColumn): ParquetType {
  return oid === NUMERIC ? createDecimalType(modifier) : (PARQUET_TYPES[oid] ?? STRING);
}

/**
 * Creates the type of a `numeric` column. Returns the type of a text if Parquet can't store every value of the column: for
 * a numeric without precision (modifier -1), for more than 38 digits, for a negative scale, or for a scale that is larger
 * than the precision.
 *
 * The modifier is `(precision << 16 | scale) + 4`. The scale is a signed number of 11 bits (numeric.c of PostgreSQL):
 * `numeric(10,2)` has the modifier 655366.
 */
function createDecimalType(modifier: number): ParquetType {
  const precision = ((modifier - 4) >> 16) & 0xffff;
  // `(x ^ 1024) - 1024` extends the sign of an 11-bit number: 2047 becomes -1.
  const scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
  if (modifier < 4 || precision > 38 || scale < 0 || scale > precision) return STRING;
  const width =
    precision <= 18 // The most digits that always fit 64 bits.
      ? ({ type: 'INT64' } as const)
      : ({ type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16 } as const);
  return {
    expression: selectAsIs,
    // The server always writes `scale` digits after the point, so the digits without the point are the unscaled value.
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
