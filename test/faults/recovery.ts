import { Gate } from '../support/gate.js';
import type { Fault, Shard } from './fault.js';
import { formatEnded, type RunningProcess } from './product.js';
import { strike } from './resume.js';
import { computeQuantile, type Tally } from './tally.js';
import { sleep, Workload } from './workload.js';

/** The number of kills of each kind. */
const KILLS = 10;
/** The time that the killed statement would need if nothing ended the statement, in seconds. */
const LONG = 30;

/** The longest time from the start of the process that resumes to the middle of its first task, in milliseconds. */
const LIMITS_MS = { 'between statements': 1000, 'in a statement': 2000 } as const;
type KillPoint = keyof typeof LIMITS_MS;

/** Measures how soon a run continues after kill -9. */
export const RECOVERY: readonly Fault[] = [
  {
    id: 'F1r',
    title: 'kill -9, and the time until work goes on',
    runsAlone: true,
    run: recover,
    conclude: concludeRecovery,
  },
];

async function recover(shard: Shard): Promise<void> {
  await using work = await Workload.create(shard.tally, { tasks: 1, pauseMs: 0 });
  await using gate = await Gate.open();
  const context = { shard, work, gate };
  for (let n = 0; n < KILLS && !shard.isOver(); n++) {
    await measure(context, 'between statements', killAtGate);
    await measure(context, 'in a statement', n % 2 === 0 ? killInSleep : killInInsert);
  }
}

interface RecoveryContext {
  readonly shard: Shard;
  readonly work: Workload;
  readonly gate: Gate;
}

/** Measures one recovery. The first task waits at the gate after its claim and its first statements. */
async function measure(
  context: RecoveryContext,
  point: KillPoint,
  kill: (context: RecoveryContext, runId: string) => Promise<RunningProcess>,
): Promise<void> {
  const { shard, work, gate } = context;
  const runId = await work.newRun();
  await (
    await kill(context, runId)
  ).ended;
  shard.tally.injections++;
  const startedAt = performance.now();
  const resumed = shard.product.run(runId, true, { env: { ...work.env, WORK_GATE: String(gate.port) } });
  const arrival = await Promise.race([gate.next(), resumed.ended]);
  if ('open' in arrival) {
    shard.tally.addTime(point, performance.now() - startedAt);
    arrival.open();
  }
  const ended = await resumed.ended;
  if (ended.code !== 0) shard.tally.addProblem(`${point}: ${formatEnded(ended)}`);
  await work.check(runId);
}

/** Kills the process while the session of its task is idle in the transaction. */
async function killAtGate({ shard, work, gate }: RecoveryContext, runId: string): Promise<RunningProcess> {
  const running = shard.product.run(runId, false, { env: { ...work.env, WORK_GATE: String(gate.port) } });
  await gate.next();
  strike(running, 'SIGKILL');
  return running;
}

function killInSleep(context: RecoveryContext, runId: string): Promise<RunningProcess> {
  return killDuring(context, runId, {
    env: { WORK_PAUSE: String(LONG * 1000) },
    statement: 'select pg_sleep',
  });
}

/** Kills the process during a large insert: a million rows take some seconds. */
function killInInsert(context: RecoveryContext, runId: string): Promise<RunningProcess> {
  return killDuring(context, runId, {
    env: { WORK_ROWS: String(LONG * 1_000_000) },
    statement: 'insert into effect select',
  });
}

async function killDuring(
  { shard, work }: RecoveryContext,
  runId: string,
  { env, statement }: { env: Readonly<Record<string, string>>; statement: string },
): Promise<RunningProcess> {
  const running = shard.product.run(runId, false, { env: { ...work.env, ...env } });
  const seen = `select from pg_stat_activity where datname = current_database() and state = 'active'
    and query like $1 and pid <> pg_backend_pid()`;
  while (running.child.exitCode === null && (await work.db.query(seen, [`${statement}%`])).length === 0)
    await sleep(2);
  await sleep(shard.random.between(0, 200));
  if (!strike(running, 'SIGKILL'))
    shard.tally.addProblem(`the statement was over: ${formatEnded(await running.ended)}`);
  return running;
}

function concludeRecovery(tally: Tally): void {
  for (const [point, limitMs] of Object.entries(LIMITS_MS)) {
    const times = tally.listTimes(point);
    if (times.length === 0) continue;
    const [median, max] = [computeQuantile(times, 0.5), computeQuantile(times, 1)].map(Math.round);
    tally.notes.push(`${point}: median ${median} ms, max ${max} ms`);
    if ((max ?? 0) > limitMs) tally.addProblem(`${point}: ${max} ms instead of ${limitMs}`);
  }
}
