import * as Args from '@oclif/core/args';
import { connFlag, EtlCommand } from '../../command.js';
import { chooseTrialsExitCode, buildTrialsJson, formatTrials, tryConnections } from './trial.js';
import { setExitCode } from '../program/process-end.js';

/** `etl connections test`: opens one connection, or all connections that are defined. */
export class ConnectionsTestCommand extends EtlCommand {
  static override summary = 'Open connections, and show which server answered.';
  static override description =
    "Without an ID, all connections are opened. Exit codes: 0 all servers answered, 2 a connection is wrongly defined, 69 a server can't be reached.";
  static override examples = [
    '<%= config.bin %> connections test',
    '<%= config.bin %> connections test my_db',
  ];
  static override args = { id: Args.string({ description: 'The ID of the connection.' }) };
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(ConnectionsTestCommand);
    const program = await this.loadProgram(flags);
    const { lookup } = program;
    const ids = args.id === undefined ? lookup.list().map(({ id }) => id) : [(await lookup.load(args.id)).id];
    const trials = await tryConnections(program, ids);
    setExitCode(chooseTrialsExitCode(trials));
    if (flags.json) return this.printJson(buildTrialsJson(trials));
    if (trials.length === 0) return this.err('no connection is defined\n');
    this.out(formatTrials(trials, this.paint(flags.color, 'stdout')));
    this.printErrors(trials, flags.color);
  }
}
