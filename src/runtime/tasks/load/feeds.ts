import { chooseFormat } from '../../format/file-format.js';
import { openInput } from '../../input/open-input.js';
import type { RowOptions } from '../../format/encoded-rows.js';
import type { InputFile } from '../../input/input.js';
import type { Table } from '../../table/describe.js';
import type { TaskWork } from '../task-body.js';
import { type CsvSample, readSample, SAMPLE_BYTES } from './csv-columns.js';
import { prepareCsvFile } from './csv-file.js';
import { copyOptions, parseCsvFormat, readQuoting, type CsvFormat } from './csv-format.js';
import { END_MARK_IS_DATA_VERSION, refuseEndMark } from './end-mark.js';
import type { ColumnPick } from '../../format/column-pick.js';
import type { Feed } from './feed.js';
import { readStart } from './header.js';
import type { LoadSource } from './load-input.js';
import { checkLaterRecords } from './later-records.js';
import { createRowsFeeds } from './rows-feed.js';

/** A request to open the inputs of a load. */
export interface FeedsRequest {
  /** The options of the load. */
  readonly load: LoadSource;
  /** The table to load into. Undefined if it does not exist yet. */
  readonly table: Table | undefined;
  readonly work: TaskWork;
  /** Called for each input when it is opened, also for an empty input. */
  readonly onOpen: () => void;
  /** Collects the names of the columns that are left out. */
  readonly omitted: Set<string>;
}

/**
 * Opens the inputs of a load and yields them as feeds, one after the other. Closes each input before it opens the next.
 * A CSV file that needs no change goes to the server as it is. The rows of every other input are parsed in this
 * process.
 */
export async function* openFeeds(request: FeedsRequest): AsyncGenerator<Feed, undefined> {
  const { load, work, onOpen } = request;
  const { from, compression } = load;
  const { context, root } = work;
  const options = { root, signal: context.signal, context, ...(compression && { compression }) };
  for await (const input of openInput(from, options)) {
    onOpen();
    if ('rows' in input) yield* createRowsFeeds(input, readRowOptions(request));
    else yield* openFileFeeds(input, request);
  }
  return undefined;
}

/** Yields the feed of a file in its format. */
async function* openFileFeeds(file: InputFile, request: FeedsRequest): AsyncGenerator<Feed> {
  const { load } = request;
  const format = chooseFormat(file, load);
  if (format !== 'csv' && format !== 'tsv') {
    yield* createRowsFeeds(file, { ...readRowOptions(request), format });
    return;
  }
  const isServer = load.transform === undefined;
  const given = { file, csv: parseCsvFormat(load.csv, format === 'tsv') };
  const ready = prepareCsvFile(given, { isServer, keepsInvalid: isServer && load.rejects !== undefined });
  yield* isServer
    ? createCsvFeeds(ready.file, ready.csv, request)
    : createParsedFeeds(ready.file, ready.csv, request);
}

/**
 * Yields the feed of a CSV file:
 *
 * - If the load leaves out columns of the file, the feed parses the file in this process.
 * - Otherwise the feed sends the bytes of the file unchanged, and the server parses them.
 * - Yields nothing if the file is empty.
 *
 * Closes the file at the end.
 */
async function* createCsvFeeds(file: InputFile, csv: CsvFormat, request: FeedsRequest): AsyncGenerator<Feed> {
  const { load, table } = request;
  const rest = file.chunks()[Symbol.asyncIterator]();
  try {
    /** Whether the load needs the types of the columns, because it creates or changes the table. */
    const needsTypes = load.schema === 'evolve' || (load.create === true && table === undefined);
    const start = await readStart(rest, file.name, csv, needsTypes ? SAMPLE_BYTES : 0);
    if (start === undefined) return;
    const chunks = concatenate(start.bytes, rest);
    const allowed = listAllowedColumns(request);
    if (allowed !== undefined && !start.names.every((name) => allowed.has(name))) {
      yield* createParsedFeeds({ ...file, chunks: () => chunks }, csv, request);
      return;
    }
    const first = needsTypes ? readSample(file.name, start, csv) : listUntyped(start.names);
    const mustRefuseEndMark = table === undefined || table.serverVersion < END_MARK_IS_DATA_VERSION;
    const { name } = file;
    const records = {
      options: copyOptions(csv, true),
      header: start.header,
      hasFirstLine: true,
      quoting: readQuoting(csv),
      encoding: csv.encoding,
    };
    yield {
      name,
      skippedLines: csv.skipLines,
      columns: first.columns,
      sample: (column) => first.sample(column),
      options: copyOptions(csv, csv.header),
      chunks: ({ later }) => {
        const all = mustRefuseEndMark ? refuseEndMark(chunks, name) : chunks;
        return later
          ? checkLaterRecords(all, { name, names: start.names, syntax: csv, records }, later)
          : all;
      },
      records,
      sent: () => undefined,
    };
  } finally {
    await rest.return?.();
  }
}

/** Returns columns with these names, without types and without values. */
function listUntyped(names: readonly string[]): CsvSample {
  return { columns: names.map((name) => ({ name, type: undefined })), sample: () => [] };
}

/** Yields the bytes that were read already, and then the rest of the chunks. */
async function* concatenate(start: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield start;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

/** Yields the feed of a CSV file whose rows are parsed in this process. Yields nothing if the file is empty. */
function createParsedFeeds(file: InputFile, csv: CsvFormat, request: FeedsRequest): AsyncGenerator<Feed> {
  return createRowsFeeds(file, { ...readRowOptions(request), format: 'csv', csv });
}

/** Returns the options for rows that are parsed in this process. */
function readRowOptions(request: FeedsRequest): RowOptions {
  const { transform } = request.load;
  const pick = createColumnPick(request);
  return { ...(transform && { transform }), ...(pick && { pick }) };
}

/** Returns what leaves out the columns that the table does not have, and remembers them. Undefined without `discard`. */
function createColumnPick(request: FeedsRequest): ColumnPick | undefined {
  const allowed = listAllowedColumns(request);
  return (
    allowed && {
      keep: (name) => {
        if (allowed.has(name)) return true;
        request.omitted.add(name);
        return false;
      },
    }
  );
}

/**
 * Returns the columns that can be sent, if the contract is `discard`: the columns of the table that are not generated.
 * Returns undefined, which allows every column, with another contract or if the table does not exist yet.
 */
function listAllowedColumns({ load, table }: FeedsRequest): ReadonlySet<string> | undefined {
  if (load.schema !== 'discard' || table === undefined) return undefined;
  return new Set(table.columns.filter(({ isGenerated }) => !isGenerated).map(({ name }) => name));
}
