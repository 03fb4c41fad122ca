import { describeThrown } from '../../errors.js';
import type { EventBody } from '../report/event.js';
import { type PlannedTask, type RunPlan, isFullRefresh } from '../dag/plan.js';
import type { TaskWork } from '../tasks/task-body.js';
import type { TaskContext } from '../tasks/task-context.js';

/** The parts of a task context that come from the run. */
export interface ContextFacts {
  readonly emit: (event: EventBody) => void;
  /** Returns the IDs of the connections that begin with `prefix`. Without a prefix, returns all IDs. */
  readonly connections: (prefix?: string) => readonly string[];
}

/** The parts of a task context that come from the attempt. */
export interface AttemptFacts {
  readonly attempt: number;
  readonly signal: AbortSignal;
  /** The results of the tasks of the run, by the index of the task. */
  readonly results: readonly unknown[];
  /** Takes the progress of the task. */
  readonly moved: TaskWork['moved'];
}

/** Creates the context that the task's function receives. */
export function createContext(
  task: PlannedTask,
  plan: RunPlan,
  { emit, connections }: ContextFacts,
  { attempt, signal, results, moved }: AttemptFacts,
): TaskContext {
  return {
    params: plan.params,
    interval: plan.interval,
    upstream: collectUpstreamResults(task, results),
    with: task.task.options.with,
    run: {
      id: plan.runId,
      dagId: plan.dag.id,
      taskId: task.id,
      attempt,
      idempotencyKey: `${plan.runId}/${task.id}`,
      fullRefresh: isFullRefresh(plan.fullRefresh, task.id),
    },
    signal,
    // JavaScript code can pass any value.
    log: (message: unknown, fields = {}) =>
      emit({ type: 'task_log', taskId: task.id, message: String(message), fields: toJsonFields(fields) }),
    progress: (rows) => moved({ rows }),
    connections,
  };
}

/**
 * Collects the results of the upstream tasks, by the names in `needs`. Objects are cloned, so that no task can change
 * an object of another task. Example: `needs: { raw }` -> `{ raw: { rows: 5 } }`. `results` has the results of all
 * tasks by index.
 */
function collectUpstreamResults(task: PlannedTask, results: readonly unknown[]): unknown {
  const named: Record<string, unknown> = {};
  // The names in `task.task.upstream` and the indexes in `task.upstream` have the same order.
  let i = 0;
  for (const name of task.task.upstream.keys()) {
    const result = results[task.upstream[i++] ?? -1];
    // Clones objects only: a clone takes as long as the rest of the context, and most results are null or a number.
    named[name] = typeof result === 'object' && result !== null ? structuredClone(result) : result;
  }
  return named;
}

/**
 * Returns the fields of a log line without values that JSON can't represent: a bigint becomes a string of its digits, and
 * an object that JSON refuses, such as one that contains itself, becomes a note. A log line must not fail its task.
 */
function toJsonFields(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const entries = Object.entries(fields).map(([name, value]): [string, unknown] => {
    if (typeof value !== 'object' || value === null)
      return [name, typeof value === 'bigint' ? String(value) : value];
    try {
      return [
        name,
        JSON.parse(
          JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? String(each) : each)),
        ),
      ];
    } catch (error) {
      return [name, `(not JSON: ${describeThrown(error)})`];
    }
  });
  return Object.fromEntries(entries);
}
