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

/** What the inputs of a load are opened for. */
export interface FeedsRequest {
  readonly load: LoadSource;
  readonly csv: CsvFormat;
  /** Undefined where it is not there yet. */
  readonly table: Table | undefined;
  readonly work: TaskWork;
  /** Called for each input, also for an empty one. */
  readonly onOpen: () => void;
  /** Takes the names of columns that are left out. */
  readonly omitted: Set<string>;
}

/**
 * The inputs of a load, one after the other. A CSV file that is to arrive as it is goes to the server as it is; of any
 * other input the rows are read here. Each is closed before the next is opened.
 */
export async function* openFeeds(request: FeedsRequest): AsyncGenerator<Feed, undefined> {
  const { load: source, work, onOpen: opened } = request;
  const { from, compression } = source;
  const { context, root } = work;
  const options = { root, signal: context.signal, context, ...(compression && { compression }) };
  for await (const input of openInput(from, options)) {
    opened();
    yield* isPlainCsv(input, source) ? createPlainFeeds(input, request) : createParsedFeeds(input, request);
  }
  return undefined;
}

function isPlainCsv(input: InputFile | InputRows, { format, transform }: LoadSource): input is InputFile {
  return 'chunks' in input && transform === undefined && (format ?? formatOf(input.name)) === 'csv';
}

function createPlainFeeds(file: InputFile, request: FeedsRequest): AsyncGenerator<Feed> {
  const { load: source, csv, table } = request;
  const allowed = listAllowedColumns(request);
  return createCsvFeeds(file, {
    format: csv,
    isTyped: source.schema === 'evolve' || (source.create === true && table === undefined),
    hasEndMark: table === undefined || table.serverVersion < END_MARK_IS_DATA_VERSION,
    instead: (columns, begun) =>
      allowed === undefined || columns.every((name) => allowed.has(name))
        ? undefined
        : createParsedFeeds(begun, request),
  });
}

async function* createParsedFeeds(
  input: InputFile | InputRows,
  request: FeedsRequest,
): AsyncGenerator<Feed, undefined> {
  const { load: source, csv, table } = request;
  const transform = chooseTransform(request);
  const options = { csv, ...(source.format && { format: source.format }), ...(transform && { transform }) };
  yield* createRowsFeeds(input, options, table);
  return undefined;
}

/** The transform of the task, after which columns are dropped where some are to be left out. */
function chooseTransform(request: FeedsRequest): LoadSource['transform'] {
  const { transform } = request.load;
  const allowed = listAllowedColumns(request);
  return allowed === undefined ? transform : createColumnFilter(allowed, transform, request.omitted);
}

/** The columns that may go to the table, where others are to be left out. */
function listAllowedColumns({ load: source, table }: FeedsRequest): ReadonlySet<string> | undefined {
  if (source.schema !== 'discard' || table === undefined) return undefined;
  return new Set(table.columns.filter(({ isGenerated }) => !isGenerated).map(({ name }) => name));
}
