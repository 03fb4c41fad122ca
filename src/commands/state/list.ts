import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import { Ledgers } from '../program/ledgers.js';
import { buildWatermarkJson, formatWatermarks } from './watermark-text.js';
import { collectWatermarks } from './watermarks.js';

/** `etl state list`: lists watermarks. */
export class StateListCommand extends EtlCommand {
  static override summary = 'List the watermarks of tasks: how far incremental tasks have read.';
  static override examples = [
    '<%= config.bin %> state list',
    '<%= config.bin %> state list monthly-report --json',
  ];
  static override args = { dag: Args.string({ description: 'List only tasks of this Dag.' }) };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(StateListCommand);
    const program = await this.loadProgram(flags);
    await using ledgers = new Ledgers(program);
    const rows = await collectWatermarks(program, ledgers, { dagId: args.dag });
    if (flags.json) return this.printJson(rows.map(buildWatermarkJson));
    if (rows.length === 0)
      return this.err(`no task${args.dag === undefined ? '' : ` of "${args.dag}"`} has a watermark\n`);
    this.out(formatWatermarks(rows, this.paint(flags.color, 'stdout')));
  }
}
