import { cluster } from '../support/database.js';
import { Gate } from '../support/gate.js';
import type { Fault, Shard } from './fault.js';
import { createGraph, createLatch, formatReason, runHere } from './in-process.js';
import { openPartition } from './partition.js';
import { formatEnded } from './product.js';
import { strike, untilDone } from './resume.js';
import { sleep, Workload } from './workload.js';

const FREEZES = 4;
const TAKEOVERS = 40;
const CONTROL_TAKEOVERS = 10;
const FROZEN_TAKEOVERS = 4;
const CROWDS = 6;

/** Faults with several processes that want the same Dag or the same run. */
export const LOCKS: readonly Fault[] = [
  { id: 'F8', title: 'SIGSTOP, a second run, SIGCONT', run: freeze },
  { id: 'F9a', title: 'lock lost unnoticed, and the next run takes over', run: takeOver },
  { id: 'F9b', title: 'lock lost while frozen, and the next run takes over', run: takeOverFrozen },
  { id: 'F20a', title: 'three runs of one Dag at once', run: startThreeRuns },
  { id: 'F20b', title: 'one run resumed by two processes at once', seconds: 15, run: resumeTwice },
];

async function freeze(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  await using work = await Workload.create(tally, { pauseMs: 20 });
  while (tally.injections < FREEZES && !shard.isOver()) {
    const [runId, second] = [await work.newRun(), await work.newRun()];
    const first = shard.product.run(runId, false, { env: work.env });
    await first.working;
    await sleep(random.between(0, 40));
    if (strike(first, 'SIGSTOP')) tally.injections++;
    const refused = await shard.product.run(second, false, { env: work.env }).ended;
    first.child.kill('SIGCONT');
    const ended = await first.ended;
    if (refused.code !== 75) tally.addProblem(`the second run was not refused: ${formatEnded(refused)}`);
    if (ended.code !== 0) tally.addProblem(`${runId} after SIGCONT: ${formatEnded(ended)}`);
    await work.check(runId);
    await work.check(second, { isDone: false });
  }
}

/** Counts the tasks that a run committed after the next run had taken over. These tasks count as doubled. */
async function countLate(
  { tally }: Shard,
  work: Workload,
  { runId, before }: { readonly runId: string; readonly before: readonly string[] },
): Promise<void> {
  const late = (await work.readRecorded(runId)).filter((taskId) => !before.includes(taskId));
  tally.doubled += late.length;
  if (late.length > 0)
    tally.addExample(`${runId} committed ${late.join(', ')} after the next run had taken over`);
}

/**
 * Takes the lock from a run without the run noticing the loss. Only the epoch keeps the old run from committing.
 * `isControl`: the old run gets its epoch back before it commits, as if there were none.
 */
export async function takeOver(shard: Shard, isControl = false): Promise<void> {
  const { tally, random } = shard;
  const { port } = await cluster();
  await using work = await Workload.create(tally, { tasks: 8, pauseMs: 0 });
  await work.install();
  const rounds = isControl ? CONTROL_TAKEOVERS : TAKEOVERS;
  while (tally.injections < rounds && !shard.isOver() && !work.isStalled) {
    await using proxy = await openPartition(port);
    const [oldId, newId] = [await work.newRun(), await work.newRun()];
    const hold = createLatch();
    const arrived = createLatch();
    const holding = 1 + random.below(3);
    let waiting = 0;
    const graph = createGraph(work, {
      retries: 0,
      onMidway: () => {
        if (++waiting === holding) arrived.open();
        return hold.opened;
      },
    });
    const url = work.db.url.replace(`:${port}/`, `:${proxy.port}/`);
    const old = runHere(work, oldId, { url, graph, concurrency: holding });
    await arrived.opened;
    const [{ epoch, holder } = {}] = await work.db.query<Record<'epoch' | 'holder', string>>(
      'select epoch, holder from etl.lock',
    );
    proxy.partition();
    tally.injections++;
    await waitForFreeLock(work);
    const next = await runHere(work, newId);
    const before = await work.readRecorded(oldId);
    if (isControl) await work.db.query('update etl.lock set epoch = $1, holder = $2', [epoch, holder]);
    await sleep(random.between(0, 5));
    hold.open();
    const ended = await old;
    if (next instanceof Error || next.state !== 'success')
      tally.addProblem(`the next run: ${formatReason(next)}`);
    if (!isControl && !(ended instanceof Error) && ended.state === 'success')
      tally.addProblem(`${oldId} says that it succeeded`);
    await countLate(shard, work, { runId: oldId, before });
    await work.check(oldId, { isDone: false });
    await work.check(newId);
  }
}

/** Waits until the server has noticed the end of the connection with the lock. */
async function waitForFreeLock({ db }: Workload): Promise<void> {
  const held = `select from pg_locks where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())`;
  while ((await db.query(held)).length > 0) await sleep(1);
}

async function takeOverFrozen(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally, { tasks: 6, pauseMs: 0 });
  while (tally.injections < FROZEN_TAKEOVERS && !shard.isOver()) {
    await using gate = await Gate.open();
    const [oldId, newId] = [await work.newRun(), await work.newRun()];
    const old = shard.product.run(oldId, false, { env: { ...work.env, WORK_GATE: String(gate.port) } });
    const arrivals = [await gate.next(), await gate.next()];
    strike(old, 'SIGSTOP');
    await work.db.query(`select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'
      and database = (select oid from pg_database where datname = current_database())`);
    tally.injections++;
    await waitForFreeLock(work);
    const next = await shard.product.run(newId, false, { env: work.env }).ended;
    const before = await work.readRecorded(oldId);
    for (const arrival of arrivals) arrival.open();
    old.child.kill('SIGCONT');
    const ended = await old.ended;
    if (next.code !== 0) tally.addProblem(`the next run: ${formatEnded(next)}`);
    if (ended.code !== 1) tally.addProblem(`${oldId} after its lock was lost: ${formatEnded(ended)}`);
    await countLate(shard, work, { runId: oldId, before });
    await work.check(oldId, { isDone: false });
    await work.check(newId);
  }
}

async function startThreeRuns(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally, { tasks: 6 });
  for (let n = 0; n < CROWDS && !shard.isOver(); n++) {
    await work.db.query('drop schema if exists etl cascade'); // The runs then also compete to create the schema.
    const runIds = [await work.newRun(), await work.newRun(), await work.newRun()];
    const ended = await Promise.all(
      runIds.map((runId) => shard.product.run(runId, false, { env: work.env }).ended),
    );
    tally.injections++;
    for (const [i, each] of ended.entries()) {
      if (each.code !== 0 && each.code !== 75) tally.addProblem(`${runIds[i]}: ${formatEnded(each)}`);
      await work.check(runIds[i] ?? '', { isDone: each.code === 0 });
    }
    if (!ended.some(({ code }) => code === 0)) tally.addProblem('none of three runs ran');
  }
}

async function resumeTwice(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  await using work = await Workload.create(tally);
  for (let n = 0; n < CROWDS && !shard.isOver(); n++) {
    const runId = await work.newRun();
    const first = shard.product.run(runId, false, { env: work.env });
    await first.working;
    await sleep(random.between(0, 40));
    if (strike(first, 'SIGKILL')) tally.injections++;
    await first.ended;
    const ended = await Promise.all(
      [0, 1].map(() => shard.product.run(runId, true, { env: work.env }).ended),
    );
    for (const each of ended)
      if (each.code !== 0 && each.code !== 75) tally.addProblem(`${runId}: ${formatEnded(each)}`);
    await untilDone(shard, work, { runId, codes: [] });
    await work.check(runId);
  }
}
