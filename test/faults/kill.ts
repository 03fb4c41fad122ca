import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Fault, Shard } from './fault.js';
import { strike, untilDone } from './resume.js';
import { moment, Workload } from './workload.js';

const PRELOAD = pathToFileURL(fileURLToPath(new URL('./preload/kill-in-commit.js', import.meta.url))).href;

/** Kills of one shard in one round. */
const RANDOM_KILLS = 75;
const COMMIT_KILLS = 50;

/** kill -9 of the real binary. */
export const KILLS: readonly Fault[] = [
  { id: 'F1', title: 'kill -9 at a random moment', shards: 4, run: killAtRandom },
  { id: 'F2', title: 'kill -9 within 3 ms of COMMIT', shards: 2, run: killInCommit },
];

async function killAtRandom(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  await using work = await Workload.create(tally);
  let workMs = 150;
  while (tally.injections < RANDOM_KILLS && !shard.isOver()) {
    const runId = await work.newRun();
    await untilDone(shard, work, {
      runId,
      inject: async (under) => {
        const part = random.next();
        await under.working;
        const since = performance.now();
        if (tally.injections >= RANDOM_KILLS) return;
        await Promise.race([moment(part * workMs), under.ended]);
        if (strike(under, 'SIGKILL')) tally.injections++;
        else workMs = 0.8 * workMs + 0.2 * (performance.now() - since);
      },
    });
    await work.check(runId);
  }
}

/** The process kills itself, because nothing outside it is quick enough. */
async function killInCommit(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  await using work = await Workload.create(tally, { tasks: 24, pauseMs: 0 });
  while (tally.injections < COMMIT_KILLS && !shard.isOver()) {
    const runId = await work.newRun();
    await untilDone(shard, work, {
      runId,
      options: () => {
        const env = {
          NODE_OPTIONS: `--import=${PRELOAD}`,
          KILL_AT: String(1 + random.below(6)),
          KILL_AFTER_MS: String(random.next() * 3),
          KILL_BLIND: random.next() < 0.5 ? '1' : '',
        };
        return tally.injections < COMMIT_KILLS ? { env } : {};
      },
      inject: async ({ ended }) => {
        if ((await ended).signal === 'SIGKILL') tally.injections++;
      },
    });
    await work.check(runId);
  }
}
