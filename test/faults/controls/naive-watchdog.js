// Loaded before a runner. A watchdog with a naive rule: it takes the time since the last beat that it has seen for the time
// that the event loop was blocked. A process that was stopped for this time looks the same, and is killed.
import { isMainThread, Worker, workerData } from 'node:worker_threads';

if (isMainThread) {
  const limitMs = Number(process.env.MAX_BLOCK_MS);
  const beat = new Int32Array(new SharedArrayBuffer(4));
  setInterval(() => Atomics.add(beat, 0, 1), limitMs / 8).unref();
  new Worker(new URL(import.meta.url), { workerData: { beat, limitMs }, execArgv: [] }).unref();
} else {
  const { beat, limitMs } = workerData;
  let lastBeat = -1;
  let seenAt = Date.now();
  setInterval(() => {
    const beats = Atomics.load(beat, 0);
    if (beats !== lastBeat) [lastBeat, seenAt] = [beats, Date.now()];
    else if (Date.now() - seenAt > limitMs) process.kill(process.pid, 'SIGKILL');
  }, limitMs / 4);
}
