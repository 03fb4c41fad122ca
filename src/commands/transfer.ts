import * as Flags from '@oclif/core/flags';
import type { InferredFlags } from '@oclif/core/interfaces';
import type { TransferSource } from '../runtime/tasks/transfer/transfer-task.js';
import { OneLineCommand, ONE_LINE_FLAGS, type OneTaskBuilder } from './one-line/one-line-command.js';
import {
  buildDagId,
  createLineError,
  formatSqlWord,
  listFlagWords,
  omitUndefined,
  parseTable,
  readConnectionId,
  readTarget,
  TARGET_FLAGS,
} from './one-line/one-line-flags.js';

/** The flags that say what is copied, and where. */
const TRANSFER_FLAGS = {
  from: Flags.string({
    description: 'The connection that is read, by its ID; `id=url` defines the connection for this call.',
    helpValue: 'id[=url]',
    required: true,
  }),
  table: Flags.string({ description: 'The table or view that is read.', exclusive: ['query'] }),
  query: Flags.string({ description: 'The query that is read, instead of --table.' }),
  into: Flags.string({ description: 'The table that is written. Default: the name of --table.' }),
  ...TARGET_FLAGS,
};

/** `etl transfer`: copies rows of another database into a table. */
export class TransferCommand extends OneLineCommand {
  static override summary = 'Copy rows of another database into a table.';
  static override description = `The rows are read in one snapshot, and written in one transaction, which also records the transfer. No config is \
needed. The run is recorded as a run of the Dag \`transfer.<table>\`, in the database that is written.`;
  static override examples = [
    '<%= config.bin %> transfer --from crm --table contact --into contact --mode replace --conn shop',
    "<%= config.bin %> transfer --from crm=postgres://me@db/crm --query 'select id, name from contact' --into contact --mode merge --key id --conn shop",
  ];
  static override flags = { ...TRANSFER_FLAGS, ...ONE_LINE_FLAGS };

  override async run(): Promise<void> {
    const { flags } = await this.parse(TransferCommand);
    const options = readOptions(flags);
    const program = await this.loadOneLineProgram(flags, flags.from);
    const query = flags.query && formatSqlWord(flags.query, this.recordsRowData);
    const from = this.formatConnection(program, flags.from);
    const task = {
      dagId: buildDagId('transfer', options.into),
      words: listFlagWords(Object.keys(TRANSFER_FLAGS), { ...flags, query, from }),
      add: (d: OneTaskBuilder) => void d.transfer('transfer', options),
    };
    await this.runTask(task, program, flags);
  }
}

/** Returns the options of the task. Throws ETL-2001 for flags that contradict each other. */
function readOptions(flags: InferredFlags<typeof TRANSFER_FLAGS>): TransferSource {
  const { from, table, query, into = table } = flags;
  if ((table ?? query) === undefined)
    throw createLineError(
      'transfer',
      'the command line does not say which rows to copy',
      'add --table or --query',
    );
  if (into === undefined)
    throw createLineError('transfer', '--query needs --into, the table that is written');
  const target = { from: readConnectionId(from), into: parseTable('--into', into) };
  const source = omitUndefined({
    table: table === undefined ? undefined : parseTable('--table', table),
    query,
  });
  return { ...omitUndefined(readTarget('transfer', flags)), ...source, ...target };
}
