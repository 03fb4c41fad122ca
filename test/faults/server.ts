import { openCluster, type OwnCluster } from '../support/cluster.js';
import { createDatabase } from '../support/database.js';
import type { Fault, Shard } from './fault.js';
import { formatEnded, type RunningProcess } from './product.js';
import { untilDone } from './resume.js';
import { sleep, Workload } from './workload.js';

const CRASHES = 20;
const CRASHES_AFTER_EXIT = 5;

/** Faults of a server that crashes: an immediate shutdown, without a checkpoint, with fsync on. */
export const SERVER: readonly Fault[] = [
  { id: 'F4', title: 'server crash during two runs', seconds: 50, run: crashDuringRuns },
  {
    id: 'F17',
    title: 'synchronous_commit off, and a server crash after exit 0',
    run: crashAfterExit,
  },
];

/** Starts a server of the test's own that writes to the disk like a user's server. */
export async function openDurable(): Promise<OwnCluster> {
  const server = await openCluster();
  await using db = await createDatabase({ server });
  for (const [name, value] of [
    ['fsync', 'on'],
    ['full_page_writes', 'on'],
    // A crash then loses all WAL that was not flushed. With the default, the server writes the WAL after 200 ms.
    ['wal_writer_delay', `'10s'`],
    ['wal_writer_flush_after', `'1GB'`],
  ])
    await db.query(`alter system set ${name} = ${value}`);
  await server.restart('fast');
  return server;
}

async function crashDuringRuns(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  await using server = await openDurable();
  await using left = await Workload.create(tally, { tasks: 16, server });
  await using right = await Workload.create(tally, { tasks: 16, server });
  while (tally.injections < CRASHES && !shard.isOver()) {
    const started: { work: Workload; runId: string; first: RunningProcess }[] = [];
    for (const work of [left, right]) {
      const runId = await work.newRun();
      const first = shard.product.run(runId, false, { env: { ...work.env, WORK_RETRIES: '1' } });
      started.push({ work, runId, first });
    }
    await started[random.below(2)]?.first.working;
    await sleep(random.between(0, 120));
    await server.restart('immediate');
    tally.injections++;
    for (const { runId, first } of started) {
      const ended = await first.ended;
      if (![0, 1, 69].includes(ended.code ?? -1)) tally.addProblem(`${runId}: ${formatEnded(ended)}`);
    }
    await Promise.all(
      started.map(async ({ work, runId }) => {
        await untilDone(shard, work, { runId, codes: [] });
        await work.check(runId);
      }),
    );
  }
}

async function crashAfterExit(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using server = await openDurable();
  await using work = await Workload.create(tally, { server });
  for (let n = 0; n < CRASHES_AFTER_EXIT && !shard.isOver(); n++) {
    const runId = await work.newRun();
    await untilDone(shard, work, { runId, codes: [], options: () => ({ env: { WORK_SYNC: 'off' } }) });
    await server.restart('immediate');
    tally.injections++;
    await work.check(runId);
  }
}
