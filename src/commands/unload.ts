import * as Flags from '@oclif/core/flags';
import type { InferredFlags } from '@oclif/core/interfaces';
import type { UnloadSource } from '../runtime/tasks/unload/unload-task.js';
import { OneLineCommand, ONE_LINE_FLAGS, type OneTaskBuilder } from './one-line/one-line-command.js';
import {
  buildFileDagId,
  createLineError,
  CSV_FLAGS,
  formatSqlWord,
  listFlagWords,
  omitUndefined,
  parseTable,
  readCsv,
} from './one-line/one-line-flags.js';

/** The flags that say what is unloaded, and where. */
const UNLOAD_FLAGS = {
  table: Flags.string({ description: 'The table whose rows are unloaded.', exclusive: ['query'] }),
  query: Flags.string({ description: 'The query whose rows are unloaded, instead of --table.' }),
  to: Flags.string({ description: 'The path of the file.', required: true }),
  format: Flags.string({
    description: 'The format. Default: that of the extension.',
    options: ['csv', 'ndjson', 'parquet'],
  }),
  compression: Flags.string({
    description: 'The compression. Default: that of the extension.',
    options: ['gzip', 'brotli', 'zstd', 'none'],
  }),
  'partition-rows': Flags.integer({
    description: 'Write several files with this number of rows.',
    min: 1,
    exclusive: ['partition-bytes', 'partition-by'],
  }),
  'partition-bytes': Flags.integer({
    description: 'Write several files of at most this size.',
    min: 1,
    exclusive: ['partition-by'],
  }),
  'partition-by': Flags.string({
    description: 'Write a directory for each value of this column.',
    helpValue: 'column',
  }),
  ...CSV_FLAGS,
  'force-quote': Flags.boolean({ description: 'CSV: quote every value that is not NULL.' }),
};

/** `etl unload`: writes the rows of a table or a query to a file. */
export class UnloadCommand extends OneLineCommand {
  static override summary = 'Write the rows of a table or a query to a file.';
  static override description = `The file appears complete or not at all. No config is needed. The run is recorded as a run of the Dag \
\`unload.<file>\`.`;
  static override examples = [
    '<%= config.bin %> unload --table orders --to orders.parquet --conn shop',
    "<%= config.bin %> unload --query 'select id, total from orders' --to out/orders.csv.gz --conn shop=postgres://me@db/shop",
  ];
  static override flags = { ...UNLOAD_FLAGS, ...ONE_LINE_FLAGS };

  override async run(): Promise<void> {
    const { flags } = await this.parse(UnloadCommand);
    const options = readOptions(flags);
    const program = await this.loadOneLineProgram(flags);
    const query = flags.query && formatSqlWord(flags.query, this.recordsRowData);
    const task = {
      dagId: buildFileDagId('unload', flags.to),
      words: listFlagWords(Object.keys(UNLOAD_FLAGS), { ...flags, query }),
      add: (d: OneTaskBuilder) => void d.unload('unload', options),
    };
    await this.runTask(task, program, flags);
  }
}

/** Returns the options of the task. Throws ETL-2001 for flags that contradict each other. */
function readOptions(flags: InferredFlags<typeof UNLOAD_FLAGS>): UnloadSource {
  const { table, query, to, format, compression } = flags;
  if ((table ?? query) === undefined)
    throw createLineError(
      'unload',
      'the command line does not say which rows to unload',
      'add --table or --query',
    );
  if (to === '-')
    throw createLineError(
      'unload',
      "--to can't be stdout (-)",
      'name a file, whose name can end in .csv, .ndjson or .parquet',
    );
  const [rows, bytes, by] = [flags['partition-rows'], flags['partition-bytes'], flags['partition-by']];
  const partition = omitUndefined({ rows, bytes, by });
  const options = {
    table: table === undefined ? undefined : parseTable('--table', table),
    query,
    to,
    format,
    compression,
    ...(Object.keys(partition).length === 0 ? {} : { partition }),
    ...readCsv(flags, flags['force-quote'] ? { forceQuote: true } : {}),
  };
  // Each option that is a text has one of the values that its flag allows.
  return omitUndefined(options) as UnloadSource;
}
