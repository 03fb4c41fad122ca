import type { RunPlan, PlannedTask } from '../dag/plan.js';

/** What the walk over a Dag needs to know of a task that has ended. */
export interface EndedTask {
  readonly state: 'success' | 'failed' | 'upstream_failed' | 'skipped';
}

export interface ExecuteOptions<O extends EndedTask> {
  /** Runs a ready task; never rejects. */
  readonly runTask: (task: PlannedTask) => Promise<O>;
  /** The outcome of a task that is not started because of an upstream task, or because the run stops. */
  readonly passOver: (
    task: PlannedTask,
    because: { readonly taskId: string; readonly outcome: O } | 'stopped',
  ) => O;
  /** How many tasks may run at once. */
  readonly concurrency: number;
  /** How many tasks may run at once on one connection. */
  readonly getPoolSize: (connectionId: string) => number;
  /** Start nothing new once a task has failed. */
  readonly failFast: boolean;
  /** Start nothing new once it aborts. */
  readonly signal: AbortSignal;
}

/**
 * Walks a Dag: runs each task when its upstream tasks have succeeded, in the order of definition where there is a
 * choice. Waiting tasks hold nothing. No recursion: a chain may have any length.
 */
export function executeDag<O extends EndedTask>(
  plan: RunPlan,
  options: ExecuteOptions<O>,
): Promise<readonly O[]> {
  return new DagWalk(plan.tasks, options).done;
}

const NO_CONNECTION = '';

class DagWalk<O extends EndedTask> {
  readonly done: Promise<readonly O[]>;
  readonly #tasks: readonly PlannedTask[];
  readonly #options: ExecuteOptions<O>;
  readonly #outcomes: O[] = [];
  readonly #downstream: Downstream;
  /** For each task the upstream tasks that have not ended. */
  readonly #missing: Int32Array;
  /** For each task the first upstream task that did not succeed. */
  readonly #blockedBy: ({ readonly taskId: string; readonly outcome: O } | undefined)[] = [];
  readonly #ready = new Map<string, { queue: PlannedTask[]; next: number; running: number }>();
  #left: number;
  #running = 0;
  #isStopped = false;
  #resolve: (outcomes: readonly O[]) => void = () => undefined;

  constructor(tasks: readonly PlannedTask[], options: ExecuteOptions<O>) {
    this.#tasks = tasks;
    this.#options = options;
    this.#left = tasks.length;
    this.#missing = Int32Array.from(tasks, (task) => task.upstream.length);
    this.#downstream = new Downstream(tasks);
    this.done = new Promise((resolve) => (this.#resolve = resolve));
    for (const task of tasks) if (this.#missing[task.index] === 0) this.#enqueue(task);
    this.#startReady();
  }

  #enqueue(task: PlannedTask): void {
    const key = task.conn ?? NO_CONNECTION;
    let lane = this.#ready.get(key);
    if (lane === undefined) this.#ready.set(key, (lane = { queue: [], next: 0, running: 0 }));
    lane.queue.push(task);
  }

  #startReady(): void {
    if (this.#options.signal.aborted) this.#isStopped = true;
    for (const [key, lane] of this.#ready) {
      const limit = key === NO_CONNECTION ? Infinity : this.#options.getPoolSize(key);
      while (this.#isStopped || (lane.running < limit && this.#running < this.#options.concurrency)) {
        const task = lane.queue[lane.next];
        if (task === undefined) break;
        lane.next++;
        if (this.#isStopped) this.#end(task, this.#options.passOver(task, 'stopped'));
        else void this.#start(task, lane);
      }
    }
    if (this.#left === 0) this.#resolve(this.#outcomes);
  }

  async #start(task: PlannedTask, lane: { running: number }): Promise<void> {
    lane.running++;
    this.#running++;
    const outcome = await this.#options.runTask(task);
    lane.running--;
    this.#running--;
    this.#end(task, outcome);
    this.#startReady();
  }

  /** Records an outcome, and those of all tasks that can't run because of it. */
  #end(first: PlannedTask, outcome: O): void {
    const ended: [PlannedTask, O][] = [[first, outcome]];
    for (let pair = ended.pop(); pair !== undefined; pair = ended.pop()) {
      const [task, itsOutcome] = pair;
      this.#outcomes[task.index] = itsOutcome;
      this.#left--;
      if (itsOutcome.state === 'failed' && this.#options.failFast) this.#isStopped = true;
      for (const index of this.#downstream.getDownstream(task.index)) {
        const next = this.#tasks[index];
        if (next === undefined) continue;
        if (itsOutcome.state !== 'success')
          this.#blockedBy[index] ??= { taskId: task.id, outcome: itsOutcome };
        this.#missing[index] = (this.#missing[index] ?? 0) - 1;
        if (this.#missing[index] !== 0) continue;
        const because = this.#blockedBy[index];
        if (because === undefined) this.#enqueue(next);
        else ended.push([next, this.#options.passOver(next, because)]);
      }
    }
  }
}

/** The tasks that need each task, by index, all in one array: one array a task would be most of a large plan. */
class Downstream {
  /** Where those of each task begin; one entry more than there are tasks. */
  readonly #starts: Int32Array;
  readonly #indexes: Int32Array;

  constructor(tasks: readonly PlannedTask[]) {
    const ends = new Int32Array(tasks.length + 1);
    for (const { upstream } of tasks) for (const index of upstream) ends[index] = (ends[index] ?? 0) + 1;
    for (let i = 0, sum = 0; i < ends.length; i++) ends[i] = sum += ends[i] ?? 0;
    this.#indexes = new Int32Array(ends.at(-1) ?? 0);
    // Backwards, so that each task's come out in the order of definition, and each end becomes a start.
    for (let i = tasks.length - 1; i >= 0; i--)
      for (const index of tasks[i]?.upstream ?? []) {
        const at = (ends[index] ?? 0) - 1;
        ends[index] = at;
        this.#indexes[at] = i;
      }
    this.#starts = ends;
  }

  getDownstream(index: number): Int32Array {
    return this.#indexes.subarray(this.#starts[index], this.#starts[index + 1]);
  }
}
