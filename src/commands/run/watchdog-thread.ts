import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { BlockedTime } from './blocked-time.js';
import type { WatchdogData } from './watchdog.js';

// The watchdog thread. It still runs if a task blocks the event loop of the main thread. It reads the counter that a
// timer of the main thread increments. If the counter stands still for `limitMs`, the event loop is blocked.

const { beat, running, limitMs, pid } = workerData as WatchdogData;
// Looks often enough to notice a short limit in time.
const tickMs = Math.min(limitMs / 4, 1000);
const blockedTime = new BlockedTime(tickMs, performance.now());

setInterval(() => {
  if (blockedTime.look(Atomics.load(beat, 0), performance.now()) > limitMs) killProcess();
}, tickMs);

/** Reports the running tasks on stderr and kills the process. */
function killProcess(): void {
  // The bytes after `length` can be left from an earlier, longer list.
  const length = Atomics.load(beat, 1);
  const tasks = Buffer.from(running.slice(0, length)).toString('utf8');
  writeSync(
    2,
    `ETL-3304 the event loop was blocked for ${limitMs / 1000} s while these tasks were running: ${tasks}\n` +
      `  do    await now and then in long work in JavaScript, or raise --max-block\n` +
      `  data  the process is killed: tasks that had succeeded are committed, the other tasks are rolled back; resume the run\n`,
  );
  // A thread that does not return to its event loop handles no other signal.
  process.kill(pid, 'SIGKILL');
}
