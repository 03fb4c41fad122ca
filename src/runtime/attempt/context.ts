import type { EventBody } from '../report/event.js';
import { type PlannedTask, type RunPlan, isFullRefresh } from '../dag/plan.js';
import type { TaskWork } from '../tasks/task-body.js';
import type { TaskContext } from '../tasks/task-context.js';

/** What contexts take from the run. */
export interface ContextFacts {
  readonly emit: (event: EventBody) => void;
  /** The IDs of all connections that begin with `prefix`. */
  readonly connections: (prefix?: string) => readonly string[];
}

/** What contexts take from the attempt. */
export interface AttemptFacts {
  readonly attempt: number;
  readonly signal: AbortSignal;
  /** Results of tasks by index. */
  readonly results: readonly unknown[];
  readonly moved: TaskWork['moved'];
}

/** What a task function gets. */
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
    log: (message, fields = {}) => emit({ type: 'task_log', taskId: task.id, message, fields }),
    progress: (rows) => moved({ rows }),
    connections,
  };
}

/** Results by the names under which the task needs them. Two tasks never share an object that one could change. */
function collectUpstreamResults(task: PlannedTask, results: readonly unknown[]): unknown {
  const named: Record<string, unknown> = {};
  let i = 0;
  for (const name of task.task.upstream.keys()) {
    const result = results[task.upstream[i++] ?? -1];
    // A clone costs as much as the rest of the context, and most results are null or a number.
    named[name] = typeof result === 'object' && result !== null ? structuredClone(result) : result;
  }
  return named;
}
