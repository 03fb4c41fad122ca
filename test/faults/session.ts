import { fileURLToPath } from 'node:url';
import { dag } from '../../src/runtime/dag/dag.js';
import { createDatabase } from '../support/database.js';
import { runOn } from '../support/run.js';
import { FIRST_QUERY_ENDINGS } from '../runtime/session/first-query-endings.js';
import { ENDINGS, ENDING_TABLES } from '../runtime/session/session-endings.js';
import type { Fault, Shard } from './fault.js';
import { formatReason } from './in-process.js';
import { formatEnded, startNode } from './product.js';
import { Workload } from './workload.js';
import type { SessionContext } from '../../src/runtime/tasks/task-context.js';

const NIGHTLY_REPEATS = 20;
const STORMS = 4;
const SOAK = fileURLToPath(new URL('./soak.ts', import.meta.url));
/**
 * Options of Node that switch off optimised code. V8's compiled code grows by a KB a run for thousands of runs, and is
 * no leak.
 */
const WITHOUT_CODE = ['--no-opt', '--no-sparkplug'];
/** The growth a run that counts as noise, in KB: 25 bytes a task, which is less than the smallest closure. */
const MAX_HEAP_SLOPE_KB = 0.5;

/** Faults that tasks cause in their sessions and in other tasks. */
export const SESSIONS: readonly Fault[] = [
  { id: 'F15', title: 'ways to break a session', run: breakSessions },
  { id: 'F16a', title: '40 read-modify-write tasks at once', run: readModifyWrite },
  { id: 'F16b', title: 'opposite lock orders', run: oppositeOrders },
  { id: 'F21', title: 'soak in one process, 30 % of the tasks fail', seconds: 150, run: runSoak },
];

async function breakSessions({ tally, isFirst, nightly, isOver }: Shard): Promise<void> {
  await using db = await createDatabase({ mayLeak: true });
  await db.query(ENDING_TABLES);
  const repeats = isFirst && nightly ? NIGHTLY_REPEATS : 1;
  for (let n = 0; n < repeats && !isOver(); n++) {
    for (const { title, body, code, options = {}, rows = 0 } of [...ENDINGS, ...FIRST_QUERY_ENDINGS]) {
      await db.query('truncate t, u, child, parent');
      const graph = dag('endings', { defaults: { conn: 'db' } }, (d) => {
        d.session('first', options, async (context) => (await body(context, db)) as null);
      });
      const run = await runOn({ db: db.url }, graph, { concurrency: 1 });
      tally.injections++;
      tally.runs++;
      tally.tasks++;
      tally.executions++;
      const expected = code === undefined ? 'success' : `failed ${code}`;
      if (run.outcome('first') !== expected)
        tally.addProblem(`${title}: ${run.outcome('first')} instead of ${expected}`);
      const written = (await db.query('select from t')).length;
      const recorded = await db.query('select from etl.task where run_id = $1 and seal is null', [run.runId]);
      if (written < rows) tally.lost++;
      if (written > rows) tally.doubled++;
      if (recorded.length !== (code === undefined ? 1 : 0)) tally.partial++;
    }
  }
  const left = await db.leftSessions();
  if (left.length > 0) tally.addProblem(`${left.length} sessions are still open`);
}

async function readModifyWrite(shard: Shard): Promise<void> {
  await runStorm(shard, 40, (_i, isolation) => [
    isolation,
    async (session) => {
      const [row] = await session<{ id: number; n: number }>('sum').where({ id: 1 });
      await session('sum')
        .where({ id: 1 })
        .update({ n: (row?.n ?? 0) + 1 });
    },
  ]);
}

async function oppositeOrders(shard: Shard): Promise<void> {
  await runStorm(shard, 20, (i) => [
    'read committed',
    async (session) => {
      for (const id of i % 2 === 0 ? [1, 2] : [2, 1]) {
        await session('sum').where({ id }).increment('n', 1);
        await session.raw('select pg_sleep(0.002)');
      }
    },
  ]);
}

type Isolation = 'read committed' | 'repeatable read' | 'serializable';
type StormBody = (session: SessionContext['session']) => Promise<void>;

/** Runs many tasks at once that write the rows 1 and 2 of `sum`. Each task adds 1 to row 1. */
async function runStorm(
  { tally, random, isOver }: Shard,
  tasks: number,
  taskOf: (i: number, isolation: Isolation) => readonly [Isolation, StormBody],
): Promise<void> {
  await using db = await createDatabase({ mayLeak: true });
  await db.query(`create table sum (id int primary key, n int not null)`);
  await db.query(`alter database ${db.name} set deadlock_timeout = '20ms'`);
  for (let n = 0; n < STORMS && !isOver(); n++) {
    await db.query('truncate sum');
    await db.query('insert into sum values (1, 0), (2, 0)');
    let executions = 0;
    const isolation = n % 2 === 0 ? 'repeatable read' : 'serializable';
    const graph = dag('storm', { defaults: { conn: 'db' } }, (d) => {
      for (let i = 0; i < tasks; i++) {
        const [level, body] = taskOf(i, isolation);
        d.session(`t${i}`, { isolation: level }, async ({ session }) => {
          executions++;
          await body(session);
        });
      }
    });
    const run = await runOn({ db: db.url }, graph, { concurrency: tasks, random: () => random.next() });
    const [row] = await db.query<{ n: number }>('select n from sum where id = 1');
    const difference = tasks - (row?.n ?? 0);
    tally.runs++;
    tally.tasks += tasks;
    tally.executions += executions;
    tally.injections++;
    if (run.state !== 'success') tally.addProblem(`not all tasks were done: ${formatReason(run)}`);
    else if (difference > 0) tally.lost += difference;
    else tally.doubled -= difference;
  }
}

/** Runs the soak in a process of its own, because the measurement would include the other work of this process. */
async function runSoak({ tally, product, isFirst, nightly }: Shard): Promise<void> {
  if (nightly && !isFirst) return;
  const runs = nightly ? 1000 : 100;
  await using work = await Workload.create(tally, { tasks: 20, rows: 10, pauseMs: 0 });
  for (let n = 0; n < runs; n++) await work.newRun();
  const env = { DATABASE_URL: work.db.url, RUNS: String(runs) };
  const args = ['--import', import.meta.resolve('tsx'), '--expose-gc', ...WITHOUT_CODE, SOAK];
  const ended = await startNode(args, product.directory, { env, limitMs: 1_200_000 }).ended;
  if (ended.code !== 0) {
    tally.addProblem(formatEnded(ended));
    return;
  }
  const figures = JSON.parse(ended.stdout) as {
    readonly listeners: readonly number[];
    readonly slopeKb: number;
    readonly rssMb: readonly number[];
    readonly failed: number;
    readonly refused: number;
  };
  tally.injections += figures.failed;
  const rss = figures.rssMb.map((mb) => mb.toFixed(0)).join(' to ');
  // The slope says nothing about the first hundred runs, because caches still fill.
  const heap = nightly ? `heap ${figures.slopeKb.toFixed(2)} KB a run, ` : '';
  tally.notes.push(`${heap}RSS ${rss} MB`);
  if (figures.refused > 0) tally.notes.push(`${figures.refused} refused at first`);
  if (new Set(figures.listeners).size > 1) tally.addProblem(`listeners: ${figures.listeners.join(', ')}`);
  if (nightly && figures.slopeKb > MAX_HEAP_SLOPE_KB)
    tally.addProblem(`the heap grows by ${figures.slopeKb.toFixed(2)} KB a run`);
  await work.expectNoSessions('the soak');
  for (let n = 1; n <= runs; n++) await work.check(`r${n}`, { isDone: false });
}
