import { type RowOptions, encodeRows } from '../../format/encoded-rows.js';
import { UTF8 } from '../../format/encodings.js';
import type { InputFile, InputRows } from '../../input/input.js';
import { type Feed, NO_HEADER } from './feed.js';

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
    skippedLines: 0,
    columns: rows.columns,
    options: 'format text',
    chunks: ({ table, usesUtcDates, later }) => {
      const types = new Map(table.columns.map(({ name, value }) => [name, value]));
      return countRows(rows.chunks(types, usesUtcDates, later), (count) => (sent += count));
    },
    sample: (name, type, isUtc) => rows.sample(name, type, isUtc),
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
