import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { EtlCommand, historyConnFlag } from '../command.js';
import { Ledgers } from './program/ledgers.js';
import { readRun } from './history/past-run.js';
import { buildRunJson, formatRun } from './history/past-run-text.js';

/** `etl show`: shows one past run. */
export class ShowCommand extends EtlCommand {
  static override summary = 'Show a past run, its tasks, and the errors of failed attempts.';
  static override examples = [
    '<%= config.bin %> show 20261122T020000Z-9f3a6c1e',
    '<%= config.bin %> show 9f3a6c1e --json',
  ];
  static override args = {
    run: Args.string({
      description: 'The ID of the run, or at least four characters at its beginning or end.',
      required: true,
    }),
  };
  static override flags = {
    conn: historyConnFlag,
    dag: Flags.string({ description: 'The Dag of the run, if runs of two Dags have the same ID.' }),
  };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(ShowCommand);
    const program = await this.loadProgram(flags, flags.conn === undefined);
    await using ledgers = new Ledgers(program);
    const run = await readRun(program, ledgers, { part: args.run, dagId: flags.dag });
    const now = new Date();
    if (flags.json) return this.printJson(buildRunJson(run, now, this.recordsRowData));
    const showsRowData = this.showsRowData('stdout');
    this.out(formatRun(run, now, this.paint(flags.color, 'stdout'), showsRowData));
  }
}
