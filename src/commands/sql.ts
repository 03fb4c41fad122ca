import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { OneLineCommand, ONE_LINE_FLAGS, type OneTaskBuilder } from './one-line/one-line-command.js';
import { buildFileDagId, buildTextDagId, createLineError, formatSqlWord } from './one-line/one-line-flags.js';

/** `etl sql`: runs SQL in one transaction. */
export class SqlCommand extends OneLineCommand {
  static override summary = 'Run SQL statements in one transaction.';
  static override description = `The transaction also records the run, as a run of the Dag \`sql.<file>\`, or \`sql.\` and a hash of the statement. The \
command prints no rows of a query. No config is needed. In a file, macros such as :run_id are bound.`;
  static override examples = [
    "<%= config.bin %> sql 'refresh materialized view totals' --conn shop",
    '<%= config.bin %> sql --file nightly.sql --conn shop=postgres://me@db/shop',
  ];
  static override args = {
    statement: Args.string({ description: 'The statements, unless --file is given.', ignoreStdin: true }),
  };
  static override flags = {
    file: Flags.string({ description: 'The path of a .sql file, instead of a statement.' }),
    ...ONE_LINE_FLAGS,
  };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(SqlCommand);
    const { statement } = args;
    const { file } = flags;
    if ((statement === undefined) === (file === undefined))
      throw createLineError('sql', 'the command line needs either a statement or --file');
    const program = await this.loadOneLineProgram(flags);
    const text = statement ?? '';
    const task =
      file === undefined
        ? {
            dagId: buildTextDagId('sql', text),
            words: [formatSqlWord(text, this.recordsRowData)],
            add: (d: OneTaskBuilder) => void d.sql('sql', { sql: text }),
          }
        : {
            dagId: buildFileDagId('sql', file),
            words: ['--file', file],
            add: (d: OneTaskBuilder) => void d.sql('sql', { file }),
          };
    await this.runTask(task, program, flags);
  }
}
