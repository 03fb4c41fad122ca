import type { TaskConnection } from '../../postgres/task-connection.js';
import { isSingleLineJson } from './plain-json.js';
import { type OutputColumn, ROWS, formatColumn, describeQuery, formatOutputQuery } from './unload-query.js';
import type { Framing } from './record-splitter.js';
import { quoteLiteral } from '../../sql/quote.js';

/** How a CSV file looks; what is not said is as PostgreSQL's COPY has it. */
export interface CsvOptions {
  /** One ASCII character. Default `,`. */
  readonly delimiter?: string;
  /** One ASCII character. Default `"`. */
  readonly quote?: string;
  /** What stands for NULL. Default nothing, which is not the same as an empty text: that is `""`. */
  readonly null?: string;
  /** The names of the columns in the first line. Default true. */
  readonly header?: boolean;
  /** A name of PostgreSQL's: `LATIN1`, `WIN1252`. Default `UTF8`. */
  readonly encoding?: string;
  /** Quotes every value that is not NULL. */
  readonly forceQuote?: boolean;
}

/** A COPY whose records are those of the files. */
export interface CopyStatement {
  readonly text: string;
  readonly framing: Framing;
}

const TAB = 9;

/** The rows of a query as CSV, written by the server. */
export async function createCsvStatement(
  taskConnection: TaskConnection,
  query: string,
  { csv, by }: { readonly csv: CsvOptions; readonly by: string | undefined },
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

async function sortRows(taskConnection: TaskConnection, query: string, by: string): Promise<string> {
  const columns = await describeQuery(taskConnection, query);
  const list = columns.map(({ name }) => formatColumn(name)).join(', ');
  return formatOutputQuery({ query, columns, list, by });
}

/** Neither is in JSON text, which shows control characters by escapes: COPY then quotes and changes nothing. */
const JSON_QUOTE = 1;
const JSON_DELIMITER = 2;

/** The rows of a query as JSON objects, one a line, written by the server: no number loses a digit on its way. */
export async function createNdjsonStatement(
  taskConnection: TaskConnection,
  query: string,
  by: string | undefined,
): Promise<CopyStatement> {
  const columns = await describeQuery(taskConnection, query);
  const row = by === undefined ? ROWS : formatRow(columns);
  // A value of the type json keeps the line breaks that it was written with, between its parts; inside texts it has none.
  const isOneLine = columns.every(({ oid }) => isSingleLineJson(oid));
  const list = isOneLine ? `row_to_json(${row})` : `translate(row_to_json(${row})::text, E'\\n\\r', '  ')`;
  return {
    text: formatCopy(
      formatOutputQuery({ query, columns, list, by }),
      `(format csv, quote E'\\x01', escape E'\\x01', delimiter E'\\x02', encoding 'UTF8')`,
    ),
    framing: { delimiter: JSON_DELIMITER, quote: JSON_QUOTE, hasHeader: false },
  };
}

/** The columns of the query alone, where there are others beside them. */
function formatRow(columns: readonly OutputColumn[]): string {
  const list = columns.map(({ name }) => formatColumn(name)).join(', ');
  return `(select one from (select ${list}) as one)`;
}

/** The rows of a query in the text format, for a reader of ours. `expressions` are those of the columns, in order. */
export function createTextStatement(
  query: string,
  columns: readonly OutputColumn[],
  { expressions, by }: { readonly expressions: readonly string[]; readonly by: string | undefined },
): CopyStatement {
  const selection = formatOutputQuery({ query, columns, list: expressions.join(', '), by });
  return {
    text: formatCopy(selection, `(encoding 'UTF8')`),
    framing: { delimiter: TAB, quote: undefined, hasHeader: false },
  };
}

/** The line break ends a comment at the end of the query. */
function formatCopy(query: string, options: string): string {
  return `copy (${query}\n) to stdout with ${options}`;
}
