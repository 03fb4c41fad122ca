import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cluster, createDatabase, type TestDatabase } from '../support/database.js';
import { frozenProxy, type FrozenProxy } from '../support/frozen-proxy.js';
import { Gate } from '../support/gate.js';
import type { Fault, Shard } from './fault.js';
import { createLatch } from './in-process.js';
import { formatEnded, type RunningProcess } from './product.js';
import {
  buildEffectQuery,
  countEffects,
  countExecutions,
  sleep,
  TABLES,
  type TaskEffect,
} from './workload.js';

const TAKEOVERS = 6;
const CONTROL_TAKEOVERS = 3;
/** The number of tasks in each of the two databases. */
const PAIRS = 2;
const ROWS = 40;
/** A process that takes longer than this time, in milliseconds, hangs. The round without a cut takes 30 seconds. */
const LIMIT_MS = 120_000;
/** The time that a control gets to commit, in milliseconds. */
const CONTROL_MS = 10_000;

/** Faults of the lock in home, for a process that writes to another database. */
export const FENCING: readonly Fault[] = [
  { id: 'F9c', title: 'fencing over two databases', seconds: 45, run: (shard) => fence(shard) },
];

/** A chain of tasks that changes the database with each task. */
const CONFIG = `
import { dag, defineConfig } from '@oneshot/etl';
import { createOnMidway } from './midway.ts';
const onMidway = createOnMidway(process.env);
const defaults = { conn: 'home', retries: 2000, backoff: { initial: 1, max: 20 } };
export default defineConfig({ dags: [dag('fence', { defaults }, (d) => {
  let before;
  for (let pair = 0; pair < ${PAIRS}; pair++) {
    for (const conn of ['home', 'second']) {
      const id = conn + '-' + pair;
      before = d.session(id, { conn, needs: before ? [before] : [] }, async (context) => {
        const { session, run } = context;
        await session.raw("select nextval('executions')");
        await session.raw('insert into effect select ?, ?, generate_series(1, ?::int)', [run.id, id, ${ROWS}]);
        await onMidway(context, id);
        await session('counter').where({ run_id: run.id, task_id: id }).increment('n', 1);
      });
    }
  }
})] });`;

interface Databases {
  readonly home: TestDatabase;
  readonly second: TestDatabase;
}

/**
 * Takes the lock from a process that has not opened the second database yet. The process retries a task there, and reaches
 * the database while the next run is in the middle of the same task.
 *
 * `isControl`: the old process has an epoch of its own in the second database, so it commits without a question to home.
 */
export async function fence(shard: Shard, isControl = false): Promise<void> {
  const { tally, product } = shard;
  await using home = await createDatabase({ mayLeak: true });
  await using second = await createDatabase({ mayLeak: true });
  for (const { query } of [home, second]) await query(TABLES);
  await writeFile(join(product.directory, 'fence.config.js'), CONFIG);
  const rounds = isControl ? CONTROL_TAKEOVERS : TAKEOVERS;
  for (let round = 0; round < rounds && !shard.isOver(); round++) {
    // In one round the link stays silent, so the old process must notice the loss by itself, which takes 20 seconds.
    await takeOverLate(shard, { home, second }, { round, isControl, isCut: isControl || round > 0 });
  }
  for (const { query } of [home, second]) tally.executions += await countExecutions(query);
}

interface Round {
  readonly round: number;
  readonly isControl: boolean;
  /** True if the connections to home break in the end. False if they stay silent. */
  readonly isCut: boolean;
}

async function takeOverLate(
  shard: Shard,
  databases: Databases,
  { round, isControl, isCut }: Round,
): Promise<void> {
  const { tally, random } = shard;
  const { home, second } = databases;
  const { port } = await cluster();
  await using homeLink = await frozenProxy(port);
  await using secondLink = await frozenProxy(port);
  await using gate = await Gate.open();
  const [oldId, newId] = [`old-${round}`, `new-${round}`];
  for (const runId of [oldId, newId]) await addCounters(shard, databases, runId);

  const refused = createLatch();
  secondLink.refuse(refused.open);
  const old = start(shard, oldId, { home: homeLink.url(home.url), second: secondLink.url(second.url) });
  await Promise.race([refused.opened, old.ended]);
  homeLink.freeze();
  const lock = await endLock(home);
  tally.injections++;

  const next = start(shard, newId, { home: home.url, second: second.url }, gate);
  const release = await holdInSecond(gate, next);
  // The epoch of home is the only epoch that the commit of the old process accepts.
  if (isControl)
    await second.query('update etl.lock set epoch = $1, holder = $2', [lock?.epoch, lock?.holder]);
  secondLink.restore();
  const until = performance.now() + (isControl ? CONTROL_MS : random.between(0, 300));
  while (performance.now() < until && (await readRecorded(second, oldId)).length === 0) await sleep(1);
  if (isCut) cut(homeLink);
  const oldEnded = await old.ended;
  release();
  const nextEnded = await next.ended;

  if (nextEnded.code !== 0) tally.addProblem(`the next run: ${formatEnded(nextEnded)}`);
  if (oldEnded.code !== 1) tally.addProblem(`${oldId} after its lock was lost: ${formatEnded(oldEnded)}`);
  // The old process could not reach the second database before the next run took over.
  const late = await readRecorded(second, oldId);
  tally.doubled += late.length;
  if (late.length > 0)
    tally.addExample(`${oldId} committed ${late.join(', ')} after the next run had taken over`);
  await check(shard, databases, { runId: oldId, isDone: false });
  await check(shard, databases, { runId: newId, isDone: nextEnded.code === 0 });
}

function start(
  { product }: Shard,
  runId: string,
  urls: Readonly<Record<keyof Databases, string>>,
  gate?: Gate,
) {
  const env = {
    ETL_CONN_HOME: urls.home,
    ETL_CONN_SECOND: urls.second,
    ...(gate === undefined ? {} : { WORK_GATE: String(gate.port) }),
  };
  const args = ['run', 'fence', '--config', 'fence.config.js', '--reporter', 'ndjson', '--run-id', runId];
  return product.start(args, { env, limitMs: LIMIT_MS });
}

async function addCounters({ tally }: Shard, databases: Databases, runId: string): Promise<void> {
  tally.runs++;
  for (const name of ['home', 'second'] as const)
    await databases[name].query(
      `insert into counter select $1, $2 || '-' || g from generate_series(0, $3::int - 1) g`,
      [runId, name, PAIRS],
    );
}

/** Ends the backend that holds the lock, waits for its end, and returns the epoch of its process. */
async function endLock(home: TestDatabase): Promise<Record<'epoch' | 'holder', string> | undefined> {
  await home.query(`select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())`);
  const [row] = await home.query<Record<'epoch' | 'holder', string>>('select epoch, holder from etl.lock');
  return row;
}

/**
 * Lets the tasks of a run go on until the run is in the middle of its first task in the second database. Returns a
 * function that lets all tasks go on.
 */
async function holdInSecond(gate: Gate, { ended }: RunningProcess): Promise<() => void> {
  const arrive = () => Promise.race([gate.next(), ended.then(() => undefined)]);
  let arrival = await arrive();
  while (arrival?.name.startsWith('home') === true) {
    arrival.open();
    arrival = await arrive();
  }
  const openAll = async (): Promise<void> => {
    for (; arrival !== undefined; arrival = await arrive()) arrival.open();
  };
  return () => void openAll();
}

function cut(link: FrozenProxy): void {
  link.restore();
  link.cut();
}

async function readRecorded(db: TestDatabase, runId: string): Promise<readonly string[]> {
  const sql = `select task_id from etl.task where run_id = $1 and state = 'success' order by task_id`;
  return (await db.query<{ task_id: string }>(sql, [runId])).map(({ task_id: id }) => id);
}

async function check(
  { tally }: Shard,
  { home, second }: Databases,
  { runId, isDone }: { readonly runId: string; readonly isDone: boolean },
): Promise<void> {
  for (const db of [home, second]) {
    const effects = await db.query<TaskEffect>(buildEffectQuery(), [runId]);
    countEffects(effects, { tally, what: runId, rows: ROWS, isDone });
  }
}
