import { Gate } from '../support/gate.js';
import type { Fault, Shard } from './fault.js';
import { describe, type Under } from './product.js';
import { strike } from './resume.js';
import { quantile, type Tally } from './tally.js';
import { moment, Workload } from './workload.js';

/** Of each kind. */
const KILLS = 10;
/** Seconds that the killed statement would go on for, if nobody ended it. */
const LONG = 30;

/** From the start of the process that resumes to the middle of its first task, at most, in milliseconds. */
const LIMITS_MS = { 'between statements': 1000, 'in a statement': 2000 } as const;
type Place = keyof typeof LIMITS_MS;

/** How soon a run goes on after kill -9. */
export const RECOVERY: readonly Fault[] = [
  { id: 'F1r', title: 'kill -9, and the time until work goes on', alone: true, run: recover, conclude },
];

async function recover(shard: Shard): Promise<void> {
  await using work = await Workload.create(shard.tally, { tasks: 1, pauseMs: 0 });
  await using gate = await Gate.open();
  const scene = { shard, work, gate };
  for (let n = 0; n < KILLS && !shard.isOver(); n++) {
    await measure(scene, 'between statements', killAtGate);
    await measure(scene, 'in a statement', n % 2 === 0 ? killInSleep : killInInsert);
  }
}

interface Scene {
  readonly shard: Shard;
  readonly work: Workload;
  readonly gate: Gate;
}

/** The first task stands at the gate when its claim is won and its first statements have run. */
async function measure(
  scene: Scene,
  place: Place,
  kill: (scene: Scene, runId: string) => Promise<Under>,
): Promise<void> {
  const { shard, work, gate } = scene;
  const runId = await work.newRun();
  await (
    await kill(scene, runId)
  ).ended;
  shard.tally.injections++;
  const startedAt = performance.now();
  const resumed = shard.product.run(runId, true, { env: { ...work.env, WORK_GATE: String(gate.port) } });
  const arrival = await Promise.race([gate.next(), resumed.ended]);
  if ('open' in arrival) {
    shard.tally.timed(place, performance.now() - startedAt);
    arrival.open();
  }
  const ended = await resumed.ended;
  if (ended.code !== 0) shard.tally.problem(`${place}: ${describe(ended)}`);
  await work.check(runId);
}

/** Its session is idle in the transaction. */
async function killAtGate({ shard, work, gate }: Scene, runId: string): Promise<Under> {
  const under = shard.product.run(runId, false, { env: { ...work.env, WORK_GATE: String(gate.port) } });
  await gate.next();
  strike(under, 'SIGKILL');
  return under;
}

function killInSleep(scene: Scene, runId: string): Promise<Under> {
  return killDuring(scene, runId, { env: { WORK_PAUSE: String(LONG * 1000) }, statement: 'select pg_sleep' });
}

/** A million rows take some seconds. */
function killInInsert(scene: Scene, runId: string): Promise<Under> {
  return killDuring(scene, runId, {
    env: { WORK_ROWS: String(LONG * 1_000_000) },
    statement: 'insert into effect select',
  });
}

async function killDuring(
  { shard, work }: Scene,
  runId: string,
  { env, statement }: { env: Readonly<Record<string, string>>; statement: string },
): Promise<Under> {
  const under = shard.product.run(runId, false, { env: { ...work.env, ...env } });
  const seen = `select from pg_stat_activity where datname = current_database() and state = 'active'
    and query like $1 and pid <> pg_backend_pid()`;
  while (under.child.exitCode === null && (await work.db.query(seen, [`${statement}%`])).length === 0)
    await moment(2);
  await moment(shard.random.between(0, 200));
  if (!strike(under, 'SIGKILL'))
    shard.tally.problem(`the statement was over: ${describe(await under.ended)}`);
  return under;
}

function conclude(tally: Tally): void {
  for (const [place, limitMs] of Object.entries(LIMITS_MS)) {
    const times = tally.times(place);
    if (times.length === 0) continue;
    const [median, max] = [quantile(times, 0.5), quantile(times, 1)].map(Math.round);
    tally.notes.push(`${place}: median ${median} ms, max ${max} ms`);
    if ((max ?? 0) > limitMs) tally.problem(`${place}: ${max} ms instead of ${limitMs}`);
  }
}
