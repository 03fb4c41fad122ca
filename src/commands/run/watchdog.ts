import { Worker } from 'node:worker_threads';
import { describeThrown } from '../../errors.js';
import type { RunEvent } from '../../runtime/report/event.js';

/** The data that the main thread and the watchdog thread share. */
export interface WatchdogData {
  /**
   * Two numbers: at index 0, how often the timer of the main thread has fired; at index 1, how many bytes of `running`
   * are used.
   */
  readonly beat: Int32Array;
  /** The IDs of the running tasks, separated by commas, in UTF-8. */
  readonly running: Uint8Array;
  /** The maximum time that a task may block the event loop, in milliseconds. */
  readonly limitMs: number;
  /** The process to kill. */
  readonly pid: number;
}

/** Kills the process if a task blocks the event loop. */
export interface Watchdog {
  /** Learns from an event which tasks are running. The first started task starts the thread. Never throws. */
  observe(event: RunEvent): void;
  /**
   * Says that no task runs any more. Ends a thread that is still starting, because it would delay the end of the
   * process.
   */
  tasksEnded(): void;
  /** Stops the timer and the thread. */
  dispose(): void;
}

/** The size of `running`. A longer list of task IDs is cut off. */
const NAMES_BYTES = 4096;

/**
 * Starts a watchdog, which kills the process if its event loop is blocked for longer than `limitMs`. A task in an
 * endless loop blocks all timers, so the run's own timeouts can't end the task.
 *
 * A timer of the main thread increments a counter in shared memory. A second thread reads the counter and kills the
 * process if the counter stands still. The shared memory also has the IDs of the running tasks, for the message of the
 * thread.
 *
 * If the thread can't run, for example because the user has too many threads or Node.js may create none, the run goes on
 * without it, and `notice` gets one line.
 */
export function startWatchdog(limitMs: number, notice: (text: string) => void): Watchdog {
  const beat = new Int32Array(new SharedArrayBuffer(8));
  const names = new Uint8Array(new SharedArrayBuffer(NAMES_BYTES));
  const workerData: WatchdogData = { beat, running: names, limitMs, pid: process.pid };
  // The thread starts with the first task. It can start while the main thread is blocked.
  let worker: Worker | undefined;
  let isUp = false;
  let hasFailed = false;
  const fail = (error: unknown): void => {
    if (hasFailed) return;
    hasFailed = true;
    const why = describeThrown(error);
    notice(`the watchdog could not run (${why}): a task that blocks the event loop is not ended`);
  };
  const timer = setInterval(() => Atomics.add(beat, 0, 1), Math.min(limitMs / 8, 250));
  timer.unref();
  const running = new Set<string>();
  return {
    observe(event) {
      if (event.type === 'task_started') running.add(event.taskId);
      else if (event.type === 'task_finished') running.delete(event.taskId);
      else return;
      const bytes = Buffer.from([...running].join(', ')).subarray(0, NAMES_BYTES);
      names.set(bytes);
      // The length is stored after the names, so the thread never reads more bytes than there are.
      Atomics.store(beat, 1, bytes.length);
      if (hasFailed) return;
      try {
        worker ??= startThread(workerData)
          .once('online', () => (isUp = true))
          .once('error', fail);
      } catch (error) {
        fail(error);
      }
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

/**
 * Starts the second thread. It gets neither the options nor the environment of this process, which could load other
 * code into the thread. The thread does not keep the process alive.
 */
function startThread(workerData: WatchdogData): Worker {
  const worker = new Worker(new URL('./watchdog-thread.cjs', import.meta.url), {
    workerData,
    execArgv: [],
    env: {},
  });
  worker.unref();
  return worker;
}
