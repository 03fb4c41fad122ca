import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import type { InferredFlags } from '@oclif/core/interfaces';
import { EtlError } from '../errors.js';
import type { LoadSource } from '../runtime/tasks/load/load-input.js';
import { OneLineCommand, ONE_LINE_FLAGS, type OneTaskBuilder } from './one-line/one-line-command.js';
import {
  buildDagId,
  createLineError,
  CSV_FLAGS,
  listFlagWords,
  omitUndefined,
  parseTable,
  readCsv,
  readTarget,
  TARGET_FLAGS,
} from './one-line/one-line-flags.js';

/** The flags that say what is loaded, and how. */
const LOAD_FLAGS = {
  into: Flags.string({ description: 'The table: `table` or `schema.table`.', required: true }),
  ...TARGET_FLAGS,
  create: Flags.boolean({
    description: 'Create the table if it does not exist, with the types of the data.',
  }),
  schema: Flags.string({
    description: 'What to do if data and table differ. Default: freeze, which fails.',
    options: ['freeze', 'evolve', 'discard'],
  }),
  format: Flags.string({
    description: 'The format. Default: that of the extension; stdin is CSV.',
    options: ['csv', 'tsv', 'json', 'ndjson', 'parquet'],
  }),
  compression: Flags.string({
    description: 'The compression. Default: that of the extension.',
    options: ['gzip', 'brotli', 'zstd', 'none'],
  }),
  rejects: Flags.string({
    description:
      'Put aside the rows that the server refuses, in a table or in a file ….ndjson. Needs --max-rejects.',
    helpValue: 'table|file',
    dependsOn: ['max-rejects'],
  }),
  'max-rejects': Flags.integer({
    description: 'With --rejects: the number of rejected rows with which the load still succeeds.',
    min: 0,
    dependsOn: ['rejects'],
  }),
  ...CSV_FLAGS,
  quote: Flags.string({ description: 'CSV: one ASCII character around a value, or none.' }),
  escape: Flags.string({ description: 'CSV: the character before a quote inside quotes.' }),
  'skip-lines': Flags.integer({ description: 'CSV: the number of lines before the header.', min: 0 }),
  columns: Flags.string({
    description: 'CSV: the columns of the table in the order of the file. They replace the header.',
    helpValue: 'column,…',
    multiple: true,
    multipleNonGreedy: true,
    delimiter: ',',
  }),
};

/** `etl load`: loads files into a table. */
export class LoadCommand extends OneLineCommand {
  static override summary = 'Load files, URLs or stdin into a table.';
  static override description = `All rows are loaded in one transaction, which also records the load. No config is needed. The run is recorded as a \
run of the Dag \`load.<table>\`: two loads of a table do not run at once.`;
  static override examples = [
    '<%= config.bin %> load orders.csv --into orders --mode merge --key id --conn shop',
    "<%= config.bin %> load 'in/*.csv.gz' --into staging.orders --mode replace --create --conn shop=postgres://me@db/shop",
    'zcat orders.csv.gz | <%= config.bin %> load - --into orders --mode append --conn shop',
  ];
  static override args = {
    from: Args.string({
      description: 'Paths, globs and URLs of the input, or - for stdin.',
      required: true,
      multiple: true,
    }),
  };
  static override flags = { ...LOAD_FLAGS, ...ONE_LINE_FLAGS };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(LoadCommand);
    const from: readonly string[] = [args.from].flat();
    const options = readOptions(from, flags);
    const program = await this.loadOneLineProgram(flags);
    const task = {
      dagId: buildDagId('load', flags.into),
      words: [...from, ...listFlagWords(Object.keys(LOAD_FLAGS), flags)],
      add: (d: OneTaskBuilder) => void d.load('load', options),
    };
    await this.runTask(task, program, flags);
  }
}

/** Returns the options of the task. Throws ETL-2001 for flags that contradict each other. */
function readOptions(from: readonly string[], flags: InferredFlags<typeof LOAD_FLAGS>): LoadSource {
  const { create, schema, format, compression, rejects, 'max-rejects': max = 0 } = flags;
  const csv = readCsv(flags, {
    ...(flags.quote === 'none' ? { quote: false as const } : {}),
    escape: flags.escape,
    skipLines: flags['skip-lines'],
    columns: flags.columns,
  });
  const options = {
    ...readTarget('load', flags),
    ...csv,
    ...(create ? { create } : {}),
    schema,
    format,
    compression,
    rejects: rejects === undefined ? undefined : { max, to: rejects },
  };
  const target = { from: readInput(from), into: parseTable('--into', flags.into) };
  // Each option that is a text has one of the values that its flag allows.
  return { ...(omitUndefined(options) as Omit<LoadSource, 'from' | 'into'>), ...target };
}

/** Returns the input of the load. Throws ETL-2001 if stdin is not the only input. */
function readInput(from: readonly string[]): LoadSource['from'] {
  if (!from.includes('-')) return from.length === 1 ? (from[0] ?? '') : from;
  if (from.length > 1) throw createLineError('load', "stdin (-) can't be loaded together with other inputs");
  let isRead = false;
  return () => {
    if (isRead)
      throw new EtlError('ETL-3553', {
        what: "stdin can't be read a second time",
        why: 'the attempt before has read it',
        fix: 'run the command again with the same input, or write the input to a file and load the file',
      });
    isRead = true;
    return process.stdin;
  };
}
