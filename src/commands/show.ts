import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { connFlag, EtlCommand } from '../command.js';
import { Ledgers } from './program/ledgers.js';
import { readRun } from './history/past-run.js';
import { runJson, runText } from './history/past-run-text.js';

export class ShowCommand extends EtlCommand {
  static override summary = 'Show a past run: its tasks, and why attempts failed.';
  static override examples = [
    '<%= config.bin %> show 20261122T020000Z-9f3a6c1e',
    '<%= config.bin %> show 9f3a6c1e --json',
  ];
  static override args = {
    run: Args.string({
      description: 'The ID of the run, or at least four characters that it begins or ends with.',
      required: true,
    }),
  };
  static override flags = {
    conn: connFlag,
    dag: Flags.string({ description: 'The Dag, where runs of two Dags have the same ID.' }),
  };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(ShowCommand);
    const program = await this.loadProgram(flags);
    await using ledgers = new Ledgers(program);
    const run = await readRun(program, ledgers, { part: args.run, dagId: flags.dag });
    const now = new Date();
    if (flags.json) return this.printJson(runJson(run, now));
    this.out(runText(run, now, this.paint(flags.color, 'stdout')));
  }
}
