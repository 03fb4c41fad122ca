import { formatOf } from '../../format/input-rows.js';
import { openInput } from '../../input/open-input.js';
import type { InputFile, InputRows } from '../../input/input.js';
import type { Table } from '../../table/describe.js';
import type { TaskWork } from '../task-body.js';
import { createCsvFeeds } from './csv-feed.js';
import type { CsvFormat } from './csv-format.js';
import { END_MARK_IS_DATA_VERSION } from './end-mark.js';
import type { Feed } from './feed.js';
import type { LoadSource } from './load-input.js';
import { createRowsFeeds } from './rows-feed.js';
import { createColumnFilter } from './contract.js';

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
    yield* isPlainCsv(input, load) ? createPlainFeeds(input, request) : createParsedFeeds(input, request);
  }
  return undefined;
}

/** Returns true if the input is a CSV file without a `transform`. */
function isPlainCsv(input: InputFile | InputRows, { format, transform }: LoadSource): input is InputFile {
  return 'chunks' in input && transform === undefined && (format ?? formatOf(input.name)) === 'csv';
}

function createPlainFeeds(file: InputFile, request: FeedsRequest): AsyncGenerator<Feed> {
  const { load, csv, table } = request;
  const allowed = listAllowedColumns(request);
  return createCsvFeeds(file, {
    format: csv,
    isTyped: load.schema === 'evolve' || (load.create === true && table === undefined),
    hasEndMark: table === undefined || table.serverVersion < END_MARK_IS_DATA_VERSION,
    parseInstead: (columns, started) =>
      allowed === undefined || columns.every((name) => allowed.has(name))
        ? undefined
        : createParsedFeeds(started, request),
  });
}

async function* createParsedFeeds(
  input: InputFile | InputRows,
  request: FeedsRequest,
): AsyncGenerator<Feed, undefined> {
  const { load, csv, table } = request;
  const transform = chooseTransform(request);
  const options = { csv, ...(load.format && { format: load.format }), ...(transform && { transform }) };
  yield* createRowsFeeds(input, options, table);
  return undefined;
}

/** Returns the transform of the load. With `discard`, it also removes the columns that the table does not have. */
function chooseTransform(request: FeedsRequest): LoadSource['transform'] {
  const { transform } = request.load;
  const allowed = listAllowedColumns(request);
  return allowed === undefined ? transform : createColumnFilter(allowed, transform, request.omitted);
}

/** Returns the columns that can be sent, if `discard` leaves out all others. Returns undefined otherwise. */
function listAllowedColumns({ load, table }: FeedsRequest): ReadonlySet<string> | undefined {
  if (load.schema !== 'discard' || table === undefined) return undefined;
  return new Set(table.columns.filter(({ isGenerated }) => !isGenerated).map(({ name }) => name));
}
