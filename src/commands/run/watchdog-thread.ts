import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import type { WatchdogData } from './watchdog.js';

// Runs beside the main thread, where it is the only thing that still works when a task blocks the event loop.

const { beat, running, limitMs, pid } = workerData as WatchdogData;
let last = -1;
let seenAt = Date.now();

setInterval(
  () => {
    const now = Atomics.load(beat, 0);
    if (now !== last) [last, seenAt] = [now, Date.now()];
    else if (Date.now() - seenAt > limitMs) end();
  },
  Math.min(limitMs / 4, 1000),
);

function end(): void {
  const length = Atomics.load(beat, 1);
  const tasks = Buffer.from(running.slice(0, length)).toString('utf8');
  writeSync(
    2,
    `ETL-3304 the event loop was blocked for ${limitMs / 1000} s while these tasks were running: ${tasks}\n` +
      `  do    let long work in JavaScript wait now and then, or raise --max-block\n` +
      `  data  the process is killed: tasks that had ended are committed, the others are rolled back; resume the run\n`,
  );
  // Nothing less reaches a thread that does not come back to its event loop.
  process.kill(pid, 'SIGKILL');
}
