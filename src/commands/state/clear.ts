import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import { clearState, createNoWatermarkError } from './watermarks.js';

export class StateClearCommand extends EtlCommand {
  static override summary =
    'Remove the watermarks of a task, or one of them: its next run begins with the first row.';
  static override description = `It is recorded in the watermark's history. What the task has loaded stays where it is: see
also \`etl run --full-refresh-task\`.

Exit codes: 0 it is removed, 2 there is none, 75 a run of the Dag is under way.`;
  static override examples = [
    '<%= config.bin %> state clear shop copy-orders',
    '<%= config.bin %> state clear shop copy-orders updated_at',
  ];
  static override args = {
    dag: Args.string({ description: 'The ID of the Dag.', required: true }),
    task: Args.string({
      description: 'The ID of the task; one that the Dag has no more, too.',
      required: true,
    }),
    name: Args.string({ description: 'The name of the watermark.' }),
  };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(StateClearCommand);
    const { dag: dagId, task: taskId, name } = args;
    const program = await this.loadProgram(flags);
    const cleared = await clearState({ program, dagId, taskId, pid: process.pid }, name);
    if (cleared.length === 0) throw createNoWatermarkError({ dagId, taskId }, name, []);
    if (flags.json) return this.printJson({ dag: dagId, task: taskId, cleared });
    this.err(`Removed ${cleared.join(', ')} of "${taskId}".\n`);
  }
}
