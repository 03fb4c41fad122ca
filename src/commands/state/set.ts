import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import { setWatermark } from './watermarks.js';

/** `etl state set`: sets a watermark of a task. */
export class StateSetCommand extends EtlCommand {
  static override summary = 'Set a watermark of a task: the next run of the task continues from this value.';
  static override description = `The history of the watermark records the change. A time without a time zone is in UTC.

Exit codes: 0 the watermark is set, 2 the task does not exist or the value is not of the cursor's type, 75 a run of the \
Dag is running.`;
  static override examples = [
    '<%= config.bin %> state set shop copy-orders updated_at 2026-01-01',
    '<%= config.bin %> state set shop copy-events id 250000',
  ];
  static override args = {
    dag: Args.string({ description: 'The ID of the Dag.', required: true }),
    task: Args.string({ description: 'The ID of the task.', required: true }),
    name: Args.string({ description: 'The name of the watermark.', required: true }),
    value: Args.string({ description: 'The new value, as PostgreSQL writes it in text.', required: true }),
  };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(StateSetCommand);
    const { dag: dagId, task: taskId, name, value } = args;
    const program = await this.loadProgram(flags);
    const text = await setWatermark({ program, dagId, taskId, pid: process.pid }, { name, value });
    if (flags.json) return this.printJson({ dag: dagId, task: taskId, name, value: text });
    this.err(`${name} of "${taskId}" is ${text} now\n`);
  }
}
