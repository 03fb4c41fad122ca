import { EtlCommand } from '../command.js';
import type { Dag } from '../runtime/dag/dag.js';
import { DEFAULT_ZONE, formatInterval } from '../runtime/interval/zone-time.js';
import { findLastCompleteInterval } from '../runtime/interval/interval.js';
import { planTasks, type PlannedTask } from '../runtime/dag/plan.js';
import type { TaskDefaults } from '../runtime/tasks/task.js';
import { getEffect } from '../runtime/tasks/task-body.js';
import { formatTable } from './program/terminal.js';

/** `etl list`: lists the Dags of the config and their tasks. Opens no connection. */
export class ListCommand extends EtlCommand {
  static override summary = 'List the Dags of the config and their tasks.';
  static override examples = ['<%= config.bin %> list', '<%= config.bin %> list --json'];

  override async run(): Promise<void> {
    const { flags } = await this.parse(ListCommand);
    const { loaded } = await this.loadProgram(flags);
    const dags = loaded.config.dags.map((dag) => describeDag(dag, loaded.config.defaults));
    if (flags.json) this.printJson(dags);
    else if (dags.length === 0) this.err(`${loaded.name} defines no Dags\n`);
    else this.out(dags.map(formatDag).join('\n'));
  }
}

/** Returns the facts of a Dag that `etl list` shows, as `--json` prints them. */
function describeDag(dag: Dag, defaults: TaskDefaults) {
  const { description, schedule, timezone } = dag.options;
  return {
    dag: dag.id,
    description,
    schedule,
    timezone: schedule === undefined ? undefined : (timezone ?? 'UTC'),
    last_interval: getLastInterval(dag),
    tasks: planTasks(dag, defaults).map(describeTask),
  };
}

/** Returns the facts of a task. `needs` has the IDs of the upstream tasks. */
function describeTask({ task, conn }: PlannedTask) {
  return {
    task: task.id,
    kind: task.kind,
    conn,
    needs: [...task.upstream.values()].map(({ id }) => id),
    runs: getEffect(task.body),
  };
}

/**
 * Returns the last interval that has ended: `etl run` without a date covers it. Undefined if the Dag has no schedule,
 * or if its first interval has not ended yet (ETL-2005).
 */
function getLastInterval(dag: Dag): { start: string; end: string } | undefined {
  if (dag.schedule === undefined) return undefined;
  try {
    const interval = findLastCompleteInterval(dag.schedule, new Date());
    return interval && { start: interval.start.toISOString(), end: interval.end.toISOString() };
  } catch (error) {
    if ((error as { code?: string }).code === 'ETL-2005') return undefined;
    throw error;
  }
}

/**
 * Formats a Dag for a person: a line with its ID, description and schedule, a line with the interval of the next run,
 * and a line for each task. Example of a task: ` copy-orders  transfer  shop  at least once  needs extract`.
 */
function formatDag(listed: ReturnType<typeof describeDag>): string {
  const { dag, description, schedule, timezone, last_interval: last, tasks } = listed;
  const head = [dag, description, schedule && `schedule ${schedule} ${timezone ?? ''}`]
    .filter(Boolean)
    .join('  ');
  const interval = last
    ? `  next run covers ${formatInterval({ start: new Date(last.start), end: new Date(last.end) }, timezone ?? DEFAULT_ZONE)}\n`
    : '';
  const rows = tasks.map(({ task, kind, conn, needs, runs }) => [
    ` ${task}`,
    kind,
    conn ?? '-',
    runs === 'at least once' ? runs : '',
    needs.length > 0 ? `needs ${needs.join(', ')}` : '',
  ]);
  return `${head}\n${interval}${formatTable(rows)}`;
}
