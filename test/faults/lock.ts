import { cluster } from '../support/database.js';
import { Gate } from '../support/gate.js';
import type { Fault, Shard } from './fault.js';
import { graphOf, latch, reasonOf, runHere } from './in-process.js';
import { openPartition } from './partition.js';
import { describe } from './product.js';
import { strike, untilDone } from './resume.js';
import { moment, Workload } from './workload.js';

const FREEZES = 4;
const TAKEOVERS = 40;
const FROZEN_TAKEOVERS = 4;
const CROWDS = 6;

/** Two processes that want the same Dag, or the same run. */
export const LOCKS: readonly Fault[] = [
  { id: 'F8', title: 'SIGSTOP, a second run, SIGCONT', run: freeze },
  { id: 'F9a', title: 'lock lost unheard, and the next run takes over', run: (shard) => takeOver(shard) },
  { id: 'F9b', title: 'lock lost while frozen, and the next run takes over', run: takeOverFrozen },
  { id: 'F20a', title: 'three runs of one Dag at once', run: crowd },
  { id: 'F20b', title: 'one run resumed by two processes at once', seconds: 15, run: resumeTwice },
];

async function freeze(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  await using work = await Workload.create(tally, { pauseMs: 20 });
  while (tally.injections < FREEZES && !shard.isOver()) {
    const [runId, second] = [await work.newRun(), await work.newRun()];
    const first = shard.product.run(runId, false, { env: work.env });
    await first.working;
    await moment(random.between(0, 40));
    if (strike(first, 'SIGSTOP')) tally.injections++;
    const refused = await shard.product.run(second, false, { env: work.env }).ended;
    first.child.kill('SIGCONT');
    const ended = await first.ended;
    if (refused.code !== 75) tally.problem(`the second run was not refused: ${describe(refused)}`);
    if (ended.code !== 0) tally.problem(`${runId} after SIGCONT: ${describe(ended)}`);
    await work.check(runId);
    await work.check(second, { isDone: false });
  }
}

/** Counts what a run committed after another had taken over, as doubled work. */
async function countLate(
  { tally }: Shard,
  work: Workload,
  { runId, before }: { readonly runId: string; readonly before: readonly string[] },
): Promise<void> {
  const late = (await work.recorded(runId)).filter((taskId) => !before.includes(taskId));
  tally.doubled += late.length;
  if (late.length > 0)
    tally.example(`${runId} committed ${late.join(', ')} after the next run had taken over`);
}

/** The old run never hears that it has lost its lock: only the epoch stands between it and the data. */
export async function takeOver(shard: Shard, rounds = TAKEOVERS): Promise<void> {
  const { tally, random } = shard;
  const { port } = await cluster();
  await using work = await Workload.create(tally, { tasks: 8, pauseMs: 0 });
  await work.install();
  if (rounds < TAKEOVERS) await work.db.query(WITHOUT_FENCE);
  while (tally.injections < rounds && !shard.isOver() && !work.isStalled) {
    await using proxy = await openPartition(port);
    const [oldId, newId] = [await work.newRun(), await work.newRun()];
    const hold = latch();
    const arrived = latch();
    const holding = 1 + random.below(3);
    let waiting = 0;
    const graph = graphOf(work, {
      retries: 0,
      midway: () => {
        if (++waiting === holding) arrived.open();
        return hold.opened;
      },
    });
    const url = work.db.url.replace(`:${port}/`, `:${proxy.port}/`);
    const old = runHere(work, oldId, { url, graph, concurrency: holding });
    await arrived.opened;
    proxy.partition();
    tally.injections++;
    await lockFree(work);
    const next = await runHere(work, newId);
    const before = await work.recorded(oldId);
    await moment(random.between(0, 5));
    hold.open();
    const ended = await old;
    if (next instanceof Error || next.state !== 'success') tally.problem(`the next run: ${reasonOf(next)}`);
    if (rounds === TAKEOVERS && !(ended instanceof Error) && ended.state === 'success')
      tally.problem(`${oldId} says that it succeeded`);
    await countLate(shard, work, { runId: oldId, before });
    await work.check(oldId, { isDone: false });
    await work.check(newId);
  }
}

/** A server whose epochs never change. */
const WITHOUT_FENCE = `
  create function etl.keep() returns trigger language plpgsql as $$ begin new.epoch := old.epoch; return new; end $$;
  create trigger keep before update on etl.lock for each row execute function etl.keep()`;

/** Resolves when the server has seen the end of the connection that had the lock. */
async function lockFree({ db }: Workload): Promise<void> {
  const held = `select from pg_locks where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())`;
  while ((await db.query(held)).length > 0) await moment(1);
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
    await lockFree(work);
    const next = await shard.product.run(newId, false, { env: work.env }).ended;
    const before = await work.recorded(oldId);
    for (const arrival of arrivals) arrival.open();
    old.child.kill('SIGCONT');
    const ended = await old.ended;
    if (next.code !== 0) tally.problem(`the next run: ${describe(next)}`);
    if (ended.code !== 1) tally.problem(`${oldId} after its lock was lost: ${describe(ended)}`);
    await countLate(shard, work, { runId: oldId, before });
    await work.check(oldId, { isDone: false });
    await work.check(newId);
  }
}

async function crowd(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally, { tasks: 6 });
  for (let n = 0; n < CROWDS && !shard.isOver(); n++) {
    await work.db.query('drop schema if exists etl cascade'); // So they race for its making as well.
    const runIds = [await work.newRun(), await work.newRun(), await work.newRun()];
    const ended = await Promise.all(
      runIds.map((runId) => shard.product.run(runId, false, { env: work.env }).ended),
    );
    tally.injections++;
    for (const [i, each] of ended.entries()) {
      if (each.code !== 0 && each.code !== 75) tally.problem(`${runIds[i]}: ${describe(each)}`);
      await work.check(runIds[i] ?? '', { isDone: each.code === 0 });
    }
    if (!ended.some(({ code }) => code === 0)) tally.problem('none of three runs ran');
  }
}

async function resumeTwice(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  await using work = await Workload.create(tally);
  for (let n = 0; n < CROWDS && !shard.isOver(); n++) {
    const runId = await work.newRun();
    const first = shard.product.run(runId, false, { env: work.env });
    await first.working;
    await moment(random.between(0, 40));
    if (strike(first, 'SIGKILL')) tally.injections++;
    await first.ended;
    const ended = await Promise.all(
      [0, 1].map(() => shard.product.run(runId, true, { env: work.env }).ended),
    );
    for (const each of ended)
      if (each.code !== 0 && each.code !== 75) tally.problem(`${runId}: ${describe(each)}`);
    await untilDone(shard, work, { runId, codes: [] });
    await work.check(runId);
  }
}
