import { type RowOptions, encodeRows } from '../../format/encoded-rows.js';
import { UTF8 } from '../../format/encodings.js';
import { formatOf } from '../../format/input-rows.js';
import type { InputFile, InputRows } from '../../input/input.js';
import { type DataColumn, type Feed, NO_HEADER } from './feed.js';
import type { InputColumn } from '../../format/row-reader.js';

const LF = 0x0a;

/**
 * Yields a feed of an input whose rows are parsed in this process. Yields nothing if the input has no row, so no
 * columns.
 */
export async function* createRowsFeeds(
  input: InputFile | InputRows,
  options: RowOptions,
): AsyncGenerator<Feed> {
  const rows = await encodeRows(input, options);
  if (rows === undefined) return;
  let sent = 0;
  yield {
    name: rows.name,
    columns: hasExactTypes(input, options) ? rows.columns : rows.columns.map(guessColumn),
    options: 'format text',
    chunks: ({ table, usesUtcDates }) => {
      const types = new Map(table.columns.map(({ name, value }) => [name, value]));
      return countRows(rows.chunks(types, usesUtcDates), (count) => (sent += count));
    },
    records: {
      options: 'format text',
      header: NO_HEADER,
      hasFirstLine: false,
      quoting: undefined,
      encoding: UTF8,
    },
    sent: () => sent,
  };
}

/** Returns true if the types of the columns are not guessed: a Parquet file without a transform names its types. */
function hasExactTypes(input: InputFile | InputRows, { format, transform }: RowOptions): boolean {
  return 'chunks' in input && transform === undefined && (format ?? formatOf(input.name)) === 'parquet';
}

/**
 * Marks a guessed `bigint` as a guess. The sizes of the seen numbers are not known, so `narrowest` is `smallint`: then a
 * load never widens an existing integer column because of the guess.
 */
function guessColumn(column: InputColumn): DataColumn {
  return column.type === 'bigint' ? { ...column, narrowest: 'smallint' } : column;
}

/**
 * Yields the chunks unchanged, and calls `count` with the number of rows in each chunk. In COPY's text format every line
 * break ends a row, because a line break in a value is escaped.
 */
async function* countRows(
  chunks: AsyncIterable<Buffer>,
  count: (rows: number) => void,
): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    let rows = 0;
    for (let at = chunk.indexOf(LF); at !== -1; at = chunk.indexOf(LF, at + 1)) rows++;
    count(rows);
    yield chunk;
  }
}
