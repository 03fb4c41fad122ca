import { UTF8 } from '../../format/encodings.js';
import { formatOf } from '../../format/input-rows.js';
import { transcode } from '../../format/transcode.js';
import { openInput } from '../../input/open-input.js';
import type { InputFile, InputRows } from '../../input/input.js';
import type { Table } from '../../table/describe.js';
import type { TaskWork } from '../task-body.js';
import { type CsvSample, readSample, SAMPLE_BYTES } from './csv-columns.js';
import { copyOptions, readQuoting, type CsvFormat } from './csv-format.js';
import { END_MARK_IS_DATA_VERSION, refuseEndMark } from './end-mark.js';
import type { ColumnPick } from '../../format/column-pick.js';
import type { Feed } from './feed.js';
import { readStart } from './header.js';
import type { LoadSource } from './load-input.js';
import { createRowsFeeds } from './rows-feed.js';

/** A request to open the inputs of a load. */
export interface FeedsRequest {
  /** The options of the load. */
  readonly load: LoadSource;
  readonly csv: CsvFormat;
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
    const isPlainCsv =
      'chunks' in input && load.transform === undefined && (load.format ?? formatOf(input.name)) === 'csv';
    yield* isPlainCsv ? createCsvFeeds(input, request) : createParsedFeeds(input, request);
  }
  return undefined;
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
async function* createCsvFeeds(stored: InputFile, given: FeedsRequest): AsyncGenerator<Feed> {
  const { file, request } = toServerEncoding(stored, given);
  const { load, csv, table } = request;
  const rest = file.chunks()[Symbol.asyncIterator]();
  try {
    /** Whether the load needs the types of the columns, because it creates or changes the table. */
    const needsTypes = load.schema === 'evolve' || (load.create === true && table === undefined);
    const start = await readStart(rest, file.name, csv, needsTypes ? SAMPLE_BYTES : 0);
    if (start === undefined) return;
    const chunks = concatenate(start.bytes, rest);
    const allowed = listAllowedColumns(request);
    if (allowed !== undefined && !start.names.every((name) => allowed.has(name))) {
      yield* createParsedFeeds({ ...file, chunks: () => chunks }, request);
      return;
    }
    const first = needsTypes ? readSample(file.name, start, csv) : listUntyped(start.names);
    const mustRefuseEndMark = table === undefined || table.serverVersion < END_MARK_IS_DATA_VERSION;
    yield {
      name: file.name,
      columns: first.columns,
      sample: (name) => first.sample(name),
      options: copyOptions(csv, csv.header),
      chunks: () => (mustRefuseEndMark ? refuseEndMark(chunks, file.name) : chunks),
      records: {
        options: copyOptions(csv, true),
        header: start.header,
        hasFirstLine: true,
        quoting: readQuoting(csv),
        encoding: csv.encoding,
      },
      sent: () => undefined,
    };
  } finally {
    await rest.return?.();
  }
}

/**
 * Returns a CSV file in UTF-8 if the server does not decode its encoding as this program does. With `rejects`, the server
 * puts aside rows with invalid bytes. Otherwise such bytes are an error.
 */
function toServerEncoding(
  file: InputFile,
  request: FeedsRequest,
): { readonly file: InputFile; readonly request: FeedsRequest } {
  const { encoding } = request.csv;
  if (encoding.server !== undefined) return { file, request };
  const options = { name: file.name, encoding, keepsInvalid: request.load.rejects !== undefined };
  return {
    file: { name: file.name, chunks: () => transcode(file.chunks(), options) },
    request: { ...request, csv: { ...request.csv, encoding: UTF8 } },
  };
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

/** Yields the feed of an input whose rows are parsed in this process. Yields nothing if the input has no row. */
function createParsedFeeds(input: InputFile | InputRows, request: FeedsRequest): AsyncGenerator<Feed> {
  const { load, csv } = request;
  const { format, transform } = load;
  const pick = createColumnPick(request);
  const options = { csv, ...(format && { format }), ...(transform && { transform }), ...(pick && { pick }) };
  return createRowsFeeds(input, options);
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
