import { Worker } from 'node:worker_threads';
import type { RunEvent } from '../../runtime/report/event.js';

/** What the two threads share. */
export interface WatchdogData {
  /** Counts the beats of the main thread's event loop; and how many bytes of `running` count. */
  readonly beat: Int32Array;
  /** The IDs of the tasks that are running, in UTF-8. */
  readonly running: Uint8Array;
  readonly limitMs: number;
  readonly pid: number;
}

export interface Watchdog {
  /** Tells it which tasks are running. */
  see(event: RunEvent): void;
  /** No task runs any more. A thread that has not come up so far only delays the end of the process. */
  tasksEnded(): void;
  dispose(): void;
}

const NAMES_BYTES = 4096;

/**
 * Ends the process when its event loop is blocked for longer than `limitMs`: a task in an endless loop keeps every timer
 * from firing, those of the run included.
 */
export function startWatchdog(limitMs: number): Watchdog {
  const beat = new Int32Array(new SharedArrayBuffer(8));
  const names = new Uint8Array(new SharedArrayBuffer(NAMES_BYTES));
  const workerData: WatchdogData = { beat, running: names, limitMs, pid: process.pid };
  // The thread starts with the first task, and by itself: what blocks this one does not keep it from starting.
  let worker: Worker | undefined;
  let isUp = false;
  const timer = setInterval(() => Atomics.add(beat, 0, 1), Math.min(limitMs / 8, 250));
  timer.unref();
  const running = new Set<string>();
  return {
    see(event) {
      if (event.type === 'task_started') running.add(event.taskId);
      else if (event.type === 'task_finished') running.delete(event.taskId);
      else return;
      const bytes = Buffer.from([...running].join(', ')).subarray(0, NAMES_BYTES);
      names.set(bytes);
      Atomics.store(beat, 1, bytes.length);
      worker ??= startThread(workerData).once('online', () => (isUp = true));
    },
    tasksEnded() {
      if (!isUp) void worker?.terminate();
    },
    dispose() {
      clearInterval(timer);
      void worker?.terminate();
    },
  };
}

function startThread(workerData: WatchdogData): Worker {
  const worker = new Worker(new URL('./watchdog-thread.cjs', import.meta.url), {
    workerData,
    execArgv: [],
    env: {},
  });
  worker.unref();
  return worker;
}
