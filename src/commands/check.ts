import { connFlag, EtlCommand } from '../command.js';
import { EtlError, EXIT } from '../errors.js';
import { findCursorWarnings } from './program/cursor-warnings.js';
import type { Program } from './program/program.js';
import { listParamNames } from '../runtime/dag/params.js';
import { findConnections, type PlannedDag, tryPlanDag } from '../runtime/dag/plan.js';
import { formatLocation } from '../runtime/modules/location.js';
import { buildErrorFields, type Paint } from '../runtime/report/words.js';
import {
  chooseTrialsExitCode,
  buildTrialsJson,
  formatTrials,
  type Trial,
  tryConnections,
} from './connections/trial.js';
import { setExitCode } from './program/process-end.js';

/** `etl check`: finds what would make a run fail before its first task. Starts no run. */
export class CheckCommand extends EtlCommand {
  static override summary = 'Check the config, every Dag, and every connection that a Dag uses.';
  static override description = `Plans each Dag, reads and binds its .sql files, looks for the packages that its tasks need, opens each connection that a Dag uses, and compares the ledger with this version of etl. Reports all errors at once.

Exit codes: 0 no error was found, 2 the config, a Dag or the definition of a connection is wrong, 69 a database can't be reached.`;
  static override examples = ['<%= config.bin %> check', '<%= config.bin %> check --json'];
  static override flags = { conn: connFlag };

  override async run(): Promise<void> {
    const { flags } = await this.parse(CheckCommand);
    const program = await this.loadProgram(flags);
    const { loaded } = program;
    const dags: CheckedDag[] = [];
    for (const dag of loaded.config.dags) dags.push(await checkDag(program, dag));
    const { used, recording } = listConnections(dags);
    const trials = await tryConnections(program, used, recording);
    const plans = dags.flatMap(({ plan }) => plan ?? []);
    const reachable = trials.filter(({ error }) => error === undefined).map(({ id }) => id);
    const warnings = await findCursorWarnings(program, plans, reachable);
    const faults = dags.flatMap((dag) => dag.faults);
    setExitCode(faults.length > 0 ? EXIT.usage : chooseTrialsExitCode(trials));
    const errors = [...faults.map((error) => ({ error })), ...trials];
    if (flags.json) this.printJson({ ...buildJson(loaded.file, dags, trials), warnings });
    else this.out(formatChecks(loaded.name, dags, this.paint(flags.color, 'stdout')));
    if (!flags.json) this.out(formatTrials(trials, this.paint(flags.color, 'stdout')));
    if (!flags.json) for (const warning of warnings) this.out(`${warning}\n`);
    this.printErrors(errors, flags.color);
  }
}

/** A Dag that was checked. */
interface CheckedDag {
  readonly id: string;
  readonly tasks: number;
  /** Undefined if the Dag can't be planned. */
  readonly plan: PlannedDag | undefined;
  readonly faults: readonly EtlError[];
}

/** Plans a Dag, and finds the faults of its tasks. Opens no connection. */
async function checkDag({ loaded }: Program, dag: PlannedDag['dag']): Promise<CheckedDag> {
  const { plan, faults: planFaults } = tryPlanDag(dag, loaded.config.defaults);
  const faults = [...planFaults];
  const facts = { root: loaded.directory, paramNames: listParamNames(dag.options.params) };
  for (const { id, body, location } of dag.tasks) {
    const found = body.transactional ? ((await body.findFaults?.(facts)) ?? []) : [];
    const task = `task "${id}" defined at ${formatLocation(location)}`;
    faults.push(...found.map((fault) => addLocation(fault, task)));
  }
  return { id: dag.id, tasks: dag.tasks.length, plan, faults };
}

/** Copies an error, and adds the location of its task. The state of the data is left out: a check runs nothing. */
function addLocation(error: EtlError, task: string): EtlError {
  const { code, what, why, fix, cause } = error;
  const where = error.where === undefined ? task : `${task}\n${error.where}`;
  return new EtlError(code, { what, where, why, fix, cause });
}

/** Lists the connections that the Dags use, each once, and finds those that record runs. */
function listConnections(dags: readonly CheckedDag[]): {
  readonly used: readonly string[];
  readonly recording: ReadonlySet<string>;
} {
  const connections = dags.flatMap(({ plan }) => (plan === undefined ? [] : [findConnections(plan)]));
  return {
    used: [...new Set(connections.flatMap(({ used }) => used))],
    recording: new Set(connections.flatMap(({ recording }) => recording)),
  };
}

/** Formats the config and its Dags for a person: one line each. */
function formatChecks(config: string, dags: readonly CheckedDag[], paint: Paint): string {
  const lines = dags.map(({ id, tasks, faults }) => {
    const size = `${tasks} ${tasks === 1 ? 'task' : 'tasks'}`;
    if (faults.length === 0) return `${paint.good('✔')}  ${id}  ${size}\n`;
    return `${paint.bad('✖')}  ${id}  ${size}  ${faults.length} ${faults.length === 1 ? 'error' : 'errors'}\n`;
  });
  return `${paint.good('✔')}  ${config}\n${lines.join('')}`;
}

/**
 * Returns the JSON of a check for another program. `error` is the first error, as other commands print it. It is absent
 * if no error was found.
 */
function buildJson(config: string, dags: readonly CheckedDag[], trials: readonly Trial[]): object {
  const [error] = [...dags.flatMap(({ faults }) => faults), ...trials.flatMap((trial) => trial.error ?? [])];
  return {
    config,
    dags: dags.map(({ id, tasks, faults }) => ({
      dag: id,
      tasks,
      errors: faults.map((fault) => buildErrorFields(fault)),
    })),
    connections: buildTrialsJson(trials),
    error: error && buildErrorFields(error),
  };
}
