import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Fault, Shard } from './fault.js';
import { untilDone } from './resume.js';
import { SpreadKills } from './spread.js';
import { Workload } from './workload.js';

const PRELOAD = pathToFileURL(fileURLToPath(new URL('./preload/kill-in-commit.js', import.meta.url))).href;

/** The number of kills of one shard in one round. */
const RANDOM_KILLS = 75;
const COMMIT_KILLS = 50;

/** Faults that kill the real program. */
export const KILLS: readonly Fault[] = [
  { id: 'F1', title: 'kill -9 at a random moment', shards: 4, seconds: 60, run: killAtRandom },
  { id: 'F2', title: 'kill -9 within 3 ms of COMMIT', shards: 2, seconds: 40, run: killInCommit },
];

async function killAtRandom(shard: Shard): Promise<void> {
  await using work = await Workload.create(shard.tally);
  const kills = new SpreadKills(shard, { kills: RANDOM_KILLS, workMs: 150 });
  while (!kills.areDone) {
    const runId = await work.newRun();
    await untilDone(shard, work, { runId, inject: (running) => kills.strike(running) });
    await work.check(runId);
  }
}

/**
 * Kills the program within 3 ms after a COMMIT. A preloaded module kills the process from inside, because another
 * process would be too slow.
 */
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
