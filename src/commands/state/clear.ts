import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import { clearTaskWatermarks, createNoWatermarkError } from './watermarks.js';

/** `etl state clear`: removes the watermarks of a task. */
export class StateClearCommand extends EtlCommand {
  static override summary =
    'Remove one watermark or all watermarks of a task: the next run of the task begins with the first row.';
  static override description = `The history of the watermark records the change. The rows that the task has loaded are not removed; see also \
\`etl run --full-refresh-task\`.

Exit codes: 0 the watermark is removed, 2 the task has no such watermark, 75 a run of the Dag is running.`;
  static override examples = [
    '<%= config.bin %> state clear shop copy-orders',
    '<%= config.bin %> state clear shop copy-orders updated_at',
  ];
  static override args = {
    dag: Args.string({ description: 'The ID of the Dag.', required: true }),
    task: Args.string({
      description: 'The ID of the task. The Dag need not have the task any more.',
      required: true,
    }),
    name: Args.string({ description: 'The name of the watermark. Default: all watermarks of the task.' }),
  };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(StateClearCommand);
    const { dag: dagId, task: taskId, name } = args;
    const program = await this.loadProgram(flags);
    const cleared = await clearTaskWatermarks({ program, dagId, taskId, pid: process.pid }, name);
    if (cleared.length === 0) throw createNoWatermarkError({ dagId, taskId }, name, []);
    if (flags.json) return this.printJson({ dag: dagId, task: taskId, cleared });
    this.err(`removed ${cleared.join(', ')} of "${taskId}"\n`);
  }
}
