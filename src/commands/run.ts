import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { connFlag } from '../command.js';
import { createRequestFromFlags } from './run/request.js';
import { DEFAULT_MAX_BLOCK, RunningCommand, RUNNING_FLAGS } from './run/running-command.js';
import { DEFAULT_CONCURRENCY } from '../runtime/run/run.js';

/** `etl run`: runs a Dag once, or resumes a run. */
export class RunCommand extends RunningCommand {
  static override summary = 'Run a Dag once.';
  static override description = `Each task that writes to a database is one transaction, which also records that the task was run.

Exit codes: 0 success, 1 a task failed, 2 nothing was started (usage, config), 3 only data checks failed, 69 the database \
can't be reached, 75 another run of the Dag holds the lock, 124 the run timed out, 130 and 143 the run was stopped by \
SIGINT and SIGTERM.`;
  static override examples = [
    '<%= config.bin %> run monthly-report',
    '<%= config.bin %> run monthly-report --date 2026-03-05 --param region=eu',
    '<%= config.bin %> run monthly-report --resume',
    'ETL_CONN_MY_DB=postgres://… <%= config.bin %> run monthly-report --quiet',
  ];
  static override args = { dag: Args.string({ description: 'The ID of the Dag.' }) };
  static override flags = {
    param: Flags.string({
      char: 'p',
      description: 'Set a param of the Dag.',
      helpValue: 'name=value',
      multiple: true,
      multipleNonGreedy: true,
    }),
    conn: connFlag,
    date: Flags.string({
      description: 'Run the data interval that contains this date. Default: the last complete interval.',
    }),
    resume: Flags.boolean({
      description:
        'Resume the last run of the Dag, or the run of --date or --run-id. Tasks that have succeeded are not run again.',
    }),
    strict: Flags.boolean({
      description: 'With --resume: refuse to resume if the Dag has changed since the run.',
    }),
    'or-resume': Flags.boolean({
      description:
        'With --run-id: resume this run if it exists already, else start it. A scheduler can then repeat its command.',
    }),
    'run-id': Flags.string({ description: 'The ID of the new run, or of the run to resume.' }),
    task: Flags.string({
      description:
        'Run only this task of the run --run-id, for another scheduler. All upstream tasks must have succeeded.',
    }),
    'full-refresh': Flags.boolean({
      description: 'Ignore all watermarks: incremental tasks read all rows.',
    }),
    'full-refresh-task': Flags.string({
      description: 'Ignore the watermarks of this task.',
      helpValue: 'task',
      multiple: true,
      multipleNonGreedy: true,
    }),
    concurrency: Flags.integer({
      char: 'c',
      description: `The maximum number of tasks that run at once. [default: ${DEFAULT_CONCURRENCY}]`,
      min: 1,
    }),
    'max-block': Flags.string({
      description: 'End the process if a task blocks the event loop for longer than this.',
      default: DEFAULT_MAX_BLOCK,
    }),
    'fail-fast': Flags.boolean({ description: 'Start no new task after a task has failed.' }),
    ...RUNNING_FLAGS,
  };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(RunCommand);
    this.notifications.setDag(args.dag);
    const program = await this.loadProgram(flags);
    this.notifications.setConfig(program.loaded);
    const request = await createRequestFromFlags(program, args.dag, flags);
    await this.execute(request, program, flags);
  }
}
