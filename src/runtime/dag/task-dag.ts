import { PlainFunction } from '../tasks/plain-task.js';
import type { Task } from '../tasks/task.js';
import { createUnknownTaskError } from './dag-errors.js';
import { type Dag, DefinedTask } from './dag.js';

/**
 * Creates a Dag of one task of another Dag. Each of its upstream tasks is replaced by a task that returns its value in
 * `upstream`, by the name under which the task sees it, or null. The task comes last. Throws ETL-2004 if the Dag has no
 * such task.
 */
export function createTaskDag(
  dag: Dag,
  taskId: string,
  upstream: Readonly<Record<string, unknown>>,
): Dag<Task> {
  const task = dag.tasks.find(({ id }) => id === taskId);
  if (task === undefined) {
    const ids = dag.tasks.map(({ id }) => id);
    throw createUnknownTaskError({ dagId: dag.id, taskId }, ids, 'nothing was started');
  }
  const { kind, body, location } = task;
  const replaced = [...task.upstream].map(([name, { id }], index): [string, DefinedTask] => {
    const value = Object.hasOwn(upstream, name) ? upstream[name] : null;
    const replacement = {
      id,
      kind: 'task',
      options: {},
      body: new PlainFunction(async () => value),
      location,
    } as const;
    return [name, new DefinedTask(replacement, index)];
  });
  const needs = Array.isArray(task.options.needs)
    ? replaced.map(([, each]) => each)
    : Object.fromEntries(replaced);
  const options = { ...task.options, needs };
  const last = new DefinedTask({ id: task.id, kind, options, body, location }, replaced.length);
  return { ...dag, tasks: [...replaced.map(([, each]) => each), last], defined: last };
}
