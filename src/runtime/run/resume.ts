import { EtlError } from '../../errors.js';
import { computeFingerprint } from '../dag/fingerprint.js';
import type { DoneTask } from '../ledger/task-row.js';
import type { PlannedTask } from '../dag/plan.js';

/** What a resumed run will do, known before it does anything. */
export interface ResumePlan {
  readonly reused: readonly string[];
  readonly toRun: readonly { readonly taskId: string; readonly why: string }[];
}

/** The fingerprints of tasks, by their index. */
export async function computeFingerprints(tasks: readonly PlannedTask[]): Promise<readonly string[]> {
  const prints: string[] = [];
  for (const task of tasks) {
    prints.push(
      await computeFingerprint(
        task,
        task.upstream.map((index) => prints[index] ?? ''),
      ),
    );
  }
  return prints;
}

/**
 * Decides what is left to do. Pure. A task that is done with the same fingerprint is reused; one that was changed, and
 * all that need it, run again.
 */
export function planResume(
  tasks: readonly PlannedTask[],
  prints: readonly string[],
  done: ReadonlyMap<string, DoneTask>,
): ResumePlan {
  const reused: string[] = [];
  const toRun: { taskId: string; why: string }[] = [];
  const again = new Set<number>();
  for (const task of tasks) {
    const before = done.get(task.id);
    if (before !== undefined && before.fingerprint === prints[task.index]) {
      reused.push(task.id);
      continue;
    }
    again.add(task.index);
    const upstream = task.upstream.find((index) => again.has(index));
    const changed = upstream === undefined ? 'changed since it ran' : `needs "${tasks[upstream]?.id ?? ''}"`;
    toRun.push({ taskId: task.id, why: before === undefined ? 'not done' : changed });
  }
  return { reused, toRun };
}

/** Throws `EtlError` when a task that is done was changed, or is not in the Dag any more. */
export function assertUnchanged(
  { toRun }: ResumePlan,
  tasks: readonly PlannedTask[],
  done: ReadonlyMap<string, DoneTask>,
): void {
  const ids = new Set(tasks.map(({ id }) => id));
  const changed = toRun
    .filter(({ why }) => why !== 'not done')
    .map(({ taskId }) => `"${taskId}" was changed`);
  const gone = [...done.keys()].filter((id) => !ids.has(id)).map((id) => `"${id}" is gone`);
  if (changed.length + gone.length === 0) return;
  throw new EtlError('ETL-2006', {
    what: `the Dag is not the one that the run began with: ${[...changed, ...gone].join(', ')}`,
    why: '--strict allows no change between a run and its resume',
    fix: 'leave out --strict: changed tasks and those that need them run again',
    data: 'nothing was started',
  });
}
