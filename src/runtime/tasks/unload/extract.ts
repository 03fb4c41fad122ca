import type { TaskConnection } from '../../postgres/task-connection.js';
import { describeParquetColumns, type ParquetColumn } from './parquet-column.js';
import { type OutputColumn, ROWS, describeQuery } from '../query-columns.js';
import { formatColumn, formatOutputQuery } from './unload-query.js';
import type { Framing } from './record-splitter.js';
import { quoteIdentifier, quoteLiteral } from '../../sql/quote.js';
import { OID } from '../../postgres/type-form.js';
import { formatArrayAsJson, readNestedTypes } from './nested-column.js';

/** The format of a CSV file. The defaults are those of PostgreSQL's COPY, with a header. */
export interface CsvOptions {
  /** One ASCII character. Default `,`. */
  readonly delimiter?: string;
  /** One ASCII character. Default `"`. */
  readonly quote?: string;
  /** The text that stands for NULL. Default: the empty text. An empty value is written as `""`. */
  readonly null?: string;
  /** True to write the column names on the first line. Default true. */
  readonly header?: boolean;
  /** The name of an encoding in PostgreSQL: `LATIN1`, `WIN1252`. Default `UTF8`. */
  readonly encoding?: string;
  /** True to quote every value that is not NULL. Default false. */
  readonly forceQuote?: boolean;
}

/** The text of a `COPY … TO STDOUT`, and how to split its output into records. */
export interface CopyStatement {
  readonly text: string;
  readonly framing: Framing;
}

/**
 * Creates a COPY that writes the rows of a query as CSV. With `by`, the server sorts the rows by this column, so that
 * the rows of one partition follow each other.
 */
export async function createCsvStatement(
  taskConnection: TaskConnection,
  query: string,
  by: string | undefined,
  csv: CsvOptions = {},
): Promise<CopyStatement> {
  const { delimiter = ',', quote = '"', header: hasHeader = true } = csv;
  const framing = { delimiter: delimiter.charCodeAt(0), quote: quote.charCodeAt(0), hasHeader };
  const rows = by === undefined ? query : await sortRows(taskConnection, query, by);
  const options = [
    'format csv',
    `header ${hasHeader}`,
    `delimiter ${quoteLiteral(delimiter)}`,
    `quote ${quoteLiteral(quote)}`,
    `escape ${quoteLiteral(quote)}`,
    `null ${quoteLiteral(csv.null ?? '')}`,
    `encoding ${quoteLiteral(csv.encoding ?? 'UTF8')}`,
    ...(csv.forceQuote === true ? ['force_quote *'] : []),
  ];
  return { text: formatCopy(rows, `(${options.join(', ')})`), framing };
}

/** Returns a query for the same columns and rows, with the partition key first and sorted by it. See `formatOutputQuery`. */
async function sortRows(taskConnection: TaskConnection, query: string, by: string): Promise<string> {
  const columns = await describeQuery(taskConnection, query, NOT_WRITTEN);
  const list = listColumns(columns);
  return formatOutputQuery(query, columns, list, by);
}

/**
 * The control characters U+0001 and U+0002. JSON text never has them, because it escapes control characters. With them
 * as quote and delimiter, COPY's CSV format never quotes or changes the JSON.
 */
const JSON_QUOTE = 1;
const JSON_DELIMITER = 2;
const JSON_COPY_OPTIONS = `(format csv, quote E'\\x01', escape E'\\x01', delimiter E'\\x02', encoding 'UTF8')`;

/**
 * The OIDs of the types for whose values `row_to_json` never writes a line break (src/include/catalog/pg_type.dat):
 * bool, bytea, "char", name, int8, int2, int4, text, oid, float4, float8, money, inet, bpchar, varchar, date, time,
 * timestamp, timestamptz, interval, timetz, numeric, uuid and jsonb.
 */
const SINGLE_LINE_TYPES: ReadonlySet<number> = new Set([
  16, 17, 18, 19, 20, 21, 23, 25, 26, 700, 701, 790, 869, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266,
  1700, 2950, 3802,
]);

/**
 * Creates a COPY that writes the rows of a query as JSON objects, one per line. The server writes the JSON, so a number
 * keeps all its digits. With `by`, the server sorts the rows by this column, so that the rows of one partition follow
 * each other.
 */
export async function createNdjsonStatement(
  taskConnection: TaskConnection,
  query: string,
  by: string | undefined,
): Promise<CopyStatement> {
  const columns = await describeQuery(taskConnection, query, NOT_WRITTEN);
  const unknown = columns
    .map(({ oid }) => oid)
    .filter((oid) => !SINGLE_LINE_TYPES.has(oid) && oid !== OID.json);
  const { arrays } = await readNestedTypes(taskConnection, unknown);
  // For a partition, the inner query also has the columns of the key and the row number. The JSON must not have them, so
  // its row is built from the columns of the user's query only.
  const isWhole = by === undefined && arrays.size === 0;
  const row = isWhole ? ROWS : `(select one from (select ${listJsonColumns(columns, arrays)}) as one)`;
  // A value of type json keeps the line breaks that the user wrote between its tokens. A string inside JSON has no line
  // break, only the escape \n. So `translate` can replace all line breaks by spaces without changing a value.
  const isOneLine = columns.every(({ oid }) => SINGLE_LINE_TYPES.has(oid));
  const list = isOneLine
    ? `pg_catalog.row_to_json(${row})`
    : `pg_catalog.translate(pg_catalog.row_to_json(${row})::pg_catalog.text, E'\\n\\r', '  ')`;
  return {
    text: formatCopy(formatOutputQuery(query, columns, list, by), JSON_COPY_OPTIONS),
    framing: { delimiter: JSON_DELIMITER, quote: JSON_QUOTE, hasHeader: false },
  };
}

/**
 * Creates a COPY in the text format, whose fields are the values of a Parquet file. Returns also how to read each
 * field. With `by`, the server sorts the rows by this column, so that the rows of one partition follow each other.
 */
export async function createParquetStatement(
  taskConnection: TaskConnection,
  query: string,
  by: string | undefined,
): Promise<CopyStatement & { readonly columns: readonly ParquetColumn[] }> {
  const described = await describeQuery(taskConnection, query, NOT_WRITTEN);
  const columns = await describeParquetColumns(taskConnection, described);
  const list = columns.map(({ name, expression }) => expression(formatColumn(name))).join(', ');
  return {
    text: formatCopy(formatOutputQuery(query, described, list, by), `(encoding 'UTF8')`),
    framing: { delimiter: TAB, quote: undefined, hasHeader: false },
    columns,
  };
}

/** The delimiter of COPY's text format. */
const TAB = 9;

/** The code and the state of the data for an error about the columns of the query. */
const NOT_WRITTEN = { code: 'ETL-3606', data: 'no file was written' } as const;

/** Lists columns of the query for a row that becomes JSON. */
function listJsonColumns(columns: readonly OutputColumn[], arrays: ReadonlySet<number>): string {
  return columns
    .map(({ name, oid }) => {
      const column = formatColumn(name);
      return arrays.has(oid) ? `${formatArrayAsJson(column)} as ${quoteIdentifier(name)}` : column;
    })
    .join(', ');
}

/** Lists columns of the query for a select list. */
function listColumns(columns: readonly OutputColumn[]): string {
  return columns.map(({ name }) => formatColumn(name)).join(', ');
}

/** Formats a COPY statement. The line break after the query ends a `--` comment in the last line of the query. */
function formatCopy(query: string, options: string): string {
  return `copy (${query}\n) to stdout with ${options}`;
}
