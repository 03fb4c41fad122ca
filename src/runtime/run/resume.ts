import { EtlError } from '../../errors.js';
import { computeFingerprint, describeTasks, explainChange } from '../dag/fingerprint.js';
import type { DoneTask } from '../ledger/task-row.js';
import type { PlannedTask } from '../dag/plan.js';

/** The tasks that a resumed run will reuse and run. The plan is complete before the first task starts. */
export interface ResumePlan {
  /** The IDs of the tasks whose results are reused. */
  readonly reused: readonly string[];
  readonly toRun: readonly { readonly taskId: string; readonly why: string }[];
}

/**
 * Computes the fingerprints of the tasks, by the index of the task. `tasks` must be in an order in which each task
 * comes after its upstream tasks, because the fingerprint of a task depends on the fingerprints of its upstream
 * tasks.
 */
export async function computeFingerprints(tasks: readonly PlannedTask[]): Promise<readonly string[]> {
  await describeTasks(tasks);
  const fingerprints: string[] = [];
  for (const task of tasks) {
    const upstream = task.upstream.map((index) => fingerprints[index] ?? '');
    fingerprints.push(await computeFingerprint(task, upstream));
  }
  return fingerprints;
}

/**
 * Decides which tasks a resumed run runs, and why. Pure. A task that is done with the same fingerprint is reused. Any
 * other task runs, for one of three reasons: it is not done; it needs a task that runs again; or it was changed.
 *
 * A task that needs a changed task never has the same fingerprint, because its fingerprint covers its upstream tasks.
 */
export function planResume(
  tasks: readonly PlannedTask[],
  fingerprints: readonly string[],
  done: ReadonlyMap<string, DoneTask>,
): ResumePlan {
  const reused: string[] = [];
  const toRun: { taskId: string; why: string }[] = [];
  const rerun = new Set<number>();
  const explain = (index: number, cause: number | undefined): string => {
    const { id = '' } = tasks[index] ?? {};
    const doneBefore = done.get(id);
    if (doneBefore === undefined) return 'not done';
    if (cause !== undefined) return `needs "${tasks[cause]?.id ?? ''}"`;
    return explainChange(doneBefore.fingerprint, fingerprints[index] ?? '');
  };
  for (const task of tasks) {
    const doneBefore = done.get(task.id);
    if (doneBefore !== undefined && doneBefore.fingerprint === fingerprints[task.index]) {
      reused.push(task.id);
      continue;
    }
    rerun.add(task.index);
    const cause = task.upstream.find((index) => rerun.has(index));
    toRun.push({ taskId: task.id, why: explain(task.index, cause) });
  }
  return { reused, toRun };
}

/** Throws ETL-2006 if a task that is done was changed, or was removed from the Dag. */
export function assertUnchanged(
  { toRun }: ResumePlan,
  tasks: readonly PlannedTask[],
  done: ReadonlyMap<string, DoneTask>,
): void {
  const ids = new Set(tasks.map(({ id }) => id));
  const changed = toRun
    .filter(({ taskId }) => done.has(taskId))
    .map(({ taskId, why }) => `"${taskId}" was changed (${why})`);
  const removed = [...done.keys()].filter((id) => !ids.has(id)).map((id) => `"${id}" was removed`);
  if (changed.length + removed.length === 0) return;
  throw new EtlError('ETL-2006', {
    what: `the Dag was changed since the run began: ${[...changed, ...removed].join(', ')}`,
    why: 'with --strict, the Dag must be unchanged',
    fix: 'leave out --strict: changed tasks, and the tasks that need them, then run again',
    data: 'nothing was started',
  });
}
