import type { RunPlan, PlannedTask } from '../dag/plan.js';

/** The part of the outcome of a task that the walk over a Dag needs. */
export interface EndedTask {
  readonly state: 'success' | 'failed' | 'upstream_failed' | 'skipped';
}

/** The callbacks and the limits of a walk over a Dag. */
export interface ExecuteOptions<O extends EndedTask> {
  /** Runs a ready task. Never rejects. */
  readonly runTask: (task: PlannedTask) => Promise<O>;
  /** Returns the outcome of a task that is not started, because of an upstream task or because the run stops. */
  readonly passOver: (
    task: PlannedTask,
    because: { readonly taskId: string; readonly outcome: O } | 'stopped',
  ) => O;
  /** The maximum number of tasks that run at once. */
  readonly concurrency: number;
  /** Returns the maximum number of tasks that run at once on one connection. */
  readonly getPoolSize: (connectionId: string) => number;
  /** True: no further task is started after a task has failed. */
  readonly failFast: boolean;
  /** No further task is started after this signal has aborted. */
  readonly signal: AbortSignal;
}

/**
 * Walks a Dag. Starts a task when all its upstream tasks have succeeded. Ready tasks of one connection start in the
 * order in which they became ready; tasks that became ready together start in the order of definition. Waiting tasks
 * hold no resources. Returns the outcomes in the order of definition.
 *
 * The walk uses no recursion, so a chain of tasks can have any length.
 */
export function executeDag<O extends EndedTask>(
  plan: RunPlan,
  options: ExecuteOptions<O>,
): Promise<readonly O[]> {
  return new DagWalk(plan.tasks, options).done;
}

/** The key of the tasks without a connection. */
const NO_CONNECTION = '';

/** The state of one walk over a Dag. The constructor starts the walk. `done` resolves when all tasks have ended. */
class DagWalk<O extends EndedTask> {
  readonly done: Promise<readonly O[]>;
  readonly #tasks: readonly PlannedTask[];
  readonly #options: ExecuteOptions<O>;
  readonly #outcomes: O[] = [];
  readonly #downstream: Downstream;
  /** For each task, the number of upstream tasks that have not ended. */
  readonly #pendingUpstream: Int32Array;
  /** For each task, the first upstream task that did not succeed. */
  readonly #blockedBy: ({ readonly taskId: string; readonly outcome: O } | undefined)[] = [];
  /** For each connection, the ready tasks, the index of the next task to start, and the number of running tasks. */
  readonly #ready = new Map<string, { queue: PlannedTask[]; next: number; running: number }>();
  /** The number of tasks that have not ended. */
  #remaining: number;
  #running = 0;
  #isStopped = false;
  #resolve: (outcomes: readonly O[]) => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;

  constructor(tasks: readonly PlannedTask[], options: ExecuteOptions<O>) {
    this.#tasks = tasks;
    this.#options = options;
    this.#remaining = tasks.length;
    this.#pendingUpstream = Int32Array.from(tasks, (task) => task.upstream.length);
    this.#downstream = new Downstream(tasks);
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    for (const task of tasks) if (this.#pendingUpstream[task.index] === 0) this.#enqueue(task);
    this.#startReady();
  }

  /** Adds a ready task to the queue of its connection. Does not start the task. */
  #enqueue(task: PlannedTask): void {
    const key = task.conn ?? NO_CONNECTION;
    let ready = this.#ready.get(key);
    if (ready === undefined) this.#ready.set(key, (ready = { queue: [], next: 0, running: 0 }));
    ready.queue.push(task);
  }

  /**
   * Starts ready tasks up to the limits. After a stop, starts none, and ends all ready tasks as not started. Resolves
   * `done` if no task is left.
   */
  #startReady(): void {
    if (this.#options.signal.aborted) this.#isStopped = true;
    for (const [key, ready] of this.#ready) {
      const limit = key === NO_CONNECTION ? Infinity : this.#options.getPoolSize(key);
      while (this.#isStopped || (ready.running < limit && this.#running < this.#options.concurrency)) {
        // `#end` can add tasks to this queue while the loop runs.
        const task = ready.queue[ready.next];
        if (task === undefined) break;
        ready.next++;
        if (this.#isStopped) this.#end(task, this.#options.passOver(task, 'stopped'));
        // A callback never throws. If one does, the walk fails, because otherwise it would wait for ever.
        else this.#start(task, ready).catch(this.#reject);
      }
    }
    if (this.#remaining === 0) this.#resolve(this.#outcomes);
  }

  /** Runs a task and counts it as running meanwhile. Afterwards records its outcome and starts tasks that are ready. */
  async #start(task: PlannedTask, ready: { running: number }): Promise<void> {
    ready.running++;
    this.#running++;
    const outcome = await this.#options.runTask(task);
    ready.running--;
    this.#running--;
    this.#end(task, outcome);
    this.#startReady();
  }

  /**
   * Records the outcome of a task, and tells its downstream tasks that it has ended. A downstream task whose upstream
   * tasks have all ended is queued if they all succeeded. Otherwise it can't run: its outcome comes from `passOver`,
   * and its own downstream tasks are told in turn. `ended` is the stack of tasks whose outcomes are still to be
   * recorded; it stands for a recursion.
   */
  #end(first: PlannedTask, outcome: O): void {
    const ended: [PlannedTask, O][] = [[first, outcome]];
    for (let pair = ended.pop(); pair !== undefined; pair = ended.pop()) {
      const [task, taskOutcome] = pair;
      this.#outcomes[task.index] = taskOutcome;
      this.#remaining--;
      if (taskOutcome.state === 'failed' && this.#options.failFast) this.#isStopped = true;
      for (const index of this.#downstream.getDownstream(task.index)) {
        const next = this.#tasks[index];
        if (next === undefined) continue;
        if (taskOutcome.state !== 'success')
          this.#blockedBy[index] ??= { taskId: task.id, outcome: taskOutcome };
        this.#pendingUpstream[index] = (this.#pendingUpstream[index] ?? 0) - 1;
        if (this.#pendingUpstream[index] !== 0) continue;
        const because = this.#blockedBy[index];
        if (because === undefined) this.#enqueue(next);
        else ended.push([next, this.#options.passOver(next, because)]);
      }
    }
  }
}

/**
 * The downstream tasks of each task. All indexes are in one array, because one array per task would take most of the
 * memory of a large plan.
 */
class Downstream {
  /**
   * For each task, the position in `#indexes` where its downstream tasks start. There is one entry more than there
   * are tasks.
   */
  readonly #starts: Int32Array;
  readonly #indexes: Int32Array;

  /**
   * Sorts the edges of the Dag by their upstream task (a counting sort): counts the downstream tasks of each task, adds
   * the counts up to the position where the downstream tasks of each task end, and then fills each task's part of the
   * array from its end to its start.
   */
  constructor(tasks: readonly PlannedTask[]) {
    const ends = new Int32Array(tasks.length + 1);
    for (const { upstream } of tasks) for (const index of upstream) ends[index] = (ends[index] ?? 0) + 1;
    for (let i = 0, sum = 0; i < ends.length; i++) ends[i] = sum += ends[i] ?? 0;
    this.#indexes = new Int32Array(ends.at(-1) ?? 0);
    // Goes backwards, because each part is filled from its end: the downstream tasks are then in the order of
    // definition. Each write lowers an entry of `ends` by 1, so at the end each entry is the start of its part.
    for (let i = tasks.length - 1; i >= 0; i--)
      for (const index of tasks[i]?.upstream ?? []) {
        const at = (ends[index] ?? 0) - 1;
        ends[index] = at;
        this.#indexes[at] = i;
      }
    this.#starts = ends;
  }

  /** Returns the indexes of the tasks that need the task with this index, in the order of definition. */
  getDownstream(index: number): Int32Array {
    return this.#indexes.subarray(this.#starts[index], this.#starts[index + 1]);
  }
}
