import { type RowOptions, encodeRows } from '../../format/encoded-rows.js';
import { formatOf } from '../../format/input-rows.js';
import type { InputFile, InputRows } from '../../input/input.js';
import type { Table } from '../../table/describe.js';
import type { DataColumn, Feed } from './feed.js';
import type { InputColumn } from '../../format/row-reader.js';

const LF = 0x0a;

/** An input whose rows JavaScript reads. Yields nothing for one that names no columns, for want of a row. */
export async function* createRowsFeeds(
  input: InputFile | InputRows,
  options: RowOptions,
  table: Table | undefined,
): AsyncGenerator<Feed> {
  const rows = await encodeRows(input, options);
  if (rows === undefined) return;
  const chunks = rows.chunks(listJsonColumns(rows.columns, table));
  let sent = 0;
  yield {
    name: rows.name,
    columns: hasExactTypes(input, options) ? rows.columns : rows.columns.map(guessColumn),
    options: 'format text',
    chunks: countRows(chunks, (count) => (sent += count)),
    records: { options: 'format text', header: { bytes: 0, lines: 0 }, quoting: undefined },
    sent: () => sent,
  };
}

/** A Parquet file says itself of which types its columns are. */
function hasExactTypes(input: InputFile | InputRows, { format, transform }: RowOptions): boolean {
  return 'chunks' in input && transform === undefined && (format ?? formatOf(input.name)) === 'parquet';
}

/** How large the numbers are of which the guess was made, nobody says. */
function guessColumn(column: InputColumn): DataColumn {
  return column.type === 'bigint' ? { ...column, least: 'smallint' } : column;
}

/** A column that the table gets only now has the type of its values. */
function listJsonColumns(columns: readonly InputColumn[], table: Table | undefined): readonly string[] {
  const types = new Map(table?.columns.map(({ name, type }) => [name, type]));
  return columns
    .filter(({ name, type }) => /^jsonb?$/.test(types.get(name) ?? type ?? ''))
    .map(({ name }) => name);
}

/** In COPY's text format a line break ends a row, and nothing else. */
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
