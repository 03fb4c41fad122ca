import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { connFlag, EtlCommand } from '../../command.js';
import { Ledgers } from '../program/ledgers.js';
import {
  buildWatermarkChangeJson,
  formatWatermarkHistory,
  buildWatermarkJson,
  formatWatermarks,
} from './watermark-text.js';
import { createNoWatermarkError, collectWatermarks, collectWatermarkHistory } from './watermarks.js';

/**
 * `etl state get`: prints the watermarks of a task. With a name, prints only the value of this watermark. With
 * `--history`, prints the earlier values as well.
 */
export class StateGetCommand extends EtlCommand {
  static override summary =
    'Print the watermarks of a task. With a name, print only the value of this watermark.';
  static override description = 'Exit codes: 0 the watermark exists, 2 it does not exist.';
  static override examples = [
    '<%= config.bin %> state get shop copy-orders',
    '<%= config.bin %> state get shop copy-orders updated_at',
    '<%= config.bin %> state get shop copy-orders --history',
  ];
  static override args = {
    dag: Args.string({ description: 'The ID of the Dag.', required: true }),
    task: Args.string({ description: 'The ID of the task.', required: true }),
    name: Args.string({
      description: 'The name of the watermark. An incremental task names its watermark like its cursor.',
    }),
  };
  static override flags = {
    conn: connFlag,
    history: Flags.boolean({ description: 'Print all values that the watermark has had, the newest first.' }),
  };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(StateGetCommand);
    const { dag: dagId, task: taskId, name } = args;
    const program = await this.loadProgram(flags);
    await using ledgers = new Ledgers(program);
    const isNamed = (row: { readonly name: string }): boolean => name === undefined || row.name === name;
    const all = await collectWatermarks(program, ledgers, { dagId, taskId });
    const knownNames = all.map((row) => row.name);
    const paint = this.paint(flags.color, 'stdout');
    if (flags.history) {
      const changes = (await collectWatermarkHistory(program, ledgers, { dagId, taskId })).filter(isNamed);
      if (changes.length === 0) throw createNoWatermarkError({ dagId, taskId }, name, knownNames);
      if (flags.json) return this.printJson(changes.map(buildWatermarkChangeJson));
      return this.out(formatWatermarkHistory(changes, paint));
    }
    const rows = all.filter(isNamed);
    if (rows.length === 0) throw createNoWatermarkError({ dagId, taskId }, name, knownNames);
    if (flags.json) return this.printJson(rows.map(buildWatermarkJson));
    this.out(
      name === undefined ? formatWatermarks(rows, paint) : rows.map(({ value }) => `${value}\n`).join(''),
    );
  }
}
