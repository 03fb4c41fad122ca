import { connFlag, EtlCommand } from '../command.js';
import { findHook } from '../hooks/index.js';
import type { Program } from './program/program.js';
import { findConnections, planDag } from '../runtime/dag/plan.js';
import { chooseTrialsExitCode, buildTrialsJson, formatTrials, tryConnections } from './connections/trial.js';

/** `etl check`: validates the config, plans each Dag, and opens each connection that a Dag uses. */
export class CheckCommand extends EtlCommand {
  static override summary = 'Check the config, every Dag, and every connection that a Dag uses.';
  static override description =
    "Exit codes: 0 no error was found, 2 the config, a Dag or the definition of a connection is wrong, 69 a database can't be reached.";
  static override examples = ['<%= config.bin %> check', '<%= config.bin %> check --json'];
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { flags } = await this.parse(CheckCommand);
    const program = await this.loadProgram(flags);
    const { loaded } = program;
    const ids = findUsedConnections(program);
    const trials = await tryConnections(program, ids);
    process.exitCode = chooseTrialsExitCode(trials);
    const dags = loaded.config.dags.map(({ id, tasks }) => ({ dag: id, tasks: tasks.length }));
    if (flags.json)
      return this.printJson({ config: loaded.file, dags, connections: buildTrialsJson(trials) });
    const paint = this.paint(flags.color, 'stdout');
    const lines = dags.map(
      ({ dag, tasks }) => `${paint.good('✔')}  ${dag}  ${tasks} ${tasks === 1 ? 'task' : 'tasks'}\n`,
    );
    this.out(`${paint.good('✔')}  ${loaded.name}\n${lines.join('')}${formatTrials(trials, paint)}`);
    this.printErrors(trials, flags.color);
  }
}

/**
 * Returns the IDs of the connections that the Dags use, each once. Throws an `EtlError` if a Dag can't be planned, if a
 * connection is not defined, or if no hook opens the connection's scheme.
 */
function findUsedConnections({ loaded, lookup }: Program): readonly string[] {
  const { dags, defaults } = loaded.config;
  const ids = [...new Set(dags.flatMap((dag) => findConnections(planDag(dag, defaults)).used))];
  // Both calls throw if the connection can't be used. Their results are not needed here.
  for (const id of ids) findHook(lookup.find(id));
  return ids;
}
