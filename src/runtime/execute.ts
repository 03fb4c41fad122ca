import type { RunPlan, PlannedTask } from './plan.js';

/** What the walk over a Dag needs to know of a task that has ended. */
export interface Ended {
  readonly state: 'success' | 'failed' | 'upstream_failed' | 'skipped';
}

export interface ExecuteOptions<O extends Ended> {
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
  readonly lanesOf: (connectionId: string) => number;
  /** Start nothing new once a task has failed. */
  readonly failFast: boolean;
  /** Start nothing new once it aborts. */
  readonly signal: AbortSignal;
}

/**
 * Walks a Dag: runs each task when its upstream tasks have succeeded, in the order of definition where there is a
 * choice. Waiting tasks hold nothing. No recursion: a chain may have any length.
 */
export function executeDag<O extends Ended>(
  plan: RunPlan,
  options: ExecuteOptions<O>,
): Promise<readonly O[]> {
  return new Walk(plan.tasks, options).done;
}

const NO_CONNECTION = '';

class Walk<O extends Ended> {
  readonly done: Promise<readonly O[]>;
  readonly #tasks: readonly PlannedTask[];
  readonly #options: ExecuteOptions<O>;
  readonly #outcomes: O[] = [];
  readonly #downstream: number[][];
  readonly #missing: number[];
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
    this.#downstream = tasks.map(() => []);
    this.#missing = tasks.map((task) => task.upstream.length);
    for (const task of tasks) for (const index of task.upstream) this.#downstream[index]?.push(task.index);
    this.done = new Promise((resolve) => (this.#resolve = resolve));
    for (const task of tasks) if (task.upstream.length === 0) this.#enqueue(task);
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
      const limit = key === NO_CONNECTION ? Infinity : this.#options.lanesOf(key);
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
      for (const index of this.#downstream[task.index] ?? []) {
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
