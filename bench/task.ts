import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import knexFactory from 'knex';
import { dag, type Dag } from '../src/runtime/dag/dag.js';
import type { Session } from '../src/runtime/session/session.js';
import type { Task } from '../src/runtime/tasks/task.js';
import { cluster, createDatabase, type TestDatabase } from '../test/support/database.js';
import { runOn } from '../test/support/run.js';

/**
 * The median times, in milliseconds, of a task with its ledger row and of the same work in `knex.transaction` without a
 * ledger row.
 */
export interface TaskRow {
  readonly network: string;
  readonly task: number;
  readonly knex: number;
  readonly ratio: number;
}

const TASKS = 150;
/** The number of first tasks that are not measured: they open connections and warm up the code. */
const WARM_UP = 30;

/**
 * Measures tasks and Knex in turns, `rounds` times each, on a server that waits for the disk, as PostgreSQL does by
 * default.
 */
export async function benchTask(rounds = 5): Promise<readonly TaskRow[]> {
  await using db = await createDatabase({ mayLeak: true });
  await db.query('create table t (v text)');
  await waitForDisk(db, 'on');
  try {
    const rows = [await compare('local', db.url, rounds)];
    const server = await cluster();
    const proxy = fork(fileURLToPath(new URL('./delay-proxy.js', import.meta.url)), [`${server.port}`, '1']);
    try {
      const [port] = (await once(proxy, 'message')) as [number];
      const url = db.url.replace(`:${server.port}/`, `:${port}/`);
      rows.push(await compare('1 ms each way', url, rounds));
    } finally {
      proxy.disconnect();
    }
    return rows;
  } finally {
    await waitForDisk(db, 'off');
  }
}

/** Sets whether the server waits for the disk. The server of the tests does not wait, to be fast. */
async function waitForDisk(db: TestDatabase, value: 'on' | 'off'): Promise<void> {
  for (const setting of ['fsync', 'full_page_writes'])
    await db.query(`alter system set ${setting} = ${value}`);
  await db.query('select pg_reload_conf()');
  while ((await db.query<{ fsync: string }>('show fsync'))[0]?.fsync !== value);
}

async function compare(network: string, url: string, rounds: number): Promise<TaskRow> {
  const task: number[] = [];
  const knex: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const turns = [
      async () => task.push(...(await timeTasks(url))),
      async () => knex.push(...(await timeKnex(url))),
    ];
    // Changes the order each round, so that neither is always the first.
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
  }
  return {
    network,
    task: computeMedian(task),
    knex: computeMedian(knex),
    ratio: computeMedian(task) / computeMedian(knex),
  };
}

/** Measures the times from the end of one task to the end of the next task, in a chain. */
async function timeTasks(url: string): Promise<readonly number[]> {
  const ends: number[] = [];
  await runOn({ db: url }, defineChain(), {
    onEvent: (event) => event.type === 'task_finished' && ends.push(performance.now()),
  });
  return ends.slice(WARM_UP).map((end, index) => end - (ends[WARM_UP + index - 1] ?? end));
}

function defineChain(): Dag {
  return dag('chain', { defaults: { conn: 'db' } }, (d) => {
    let before: readonly Task[] = [];
    for (let i = 0; i < TASKS; i++) {
      const insert = async ({ session }: { session: Session }) =>
        void (await session('t').insert({ v: 'x' }));
      before = [d.session(`t${i}`, { needs: before }, insert)];
    }
  });
}

async function timeKnex(url: string): Promise<readonly number[]> {
  const knex = knexFactory({ client: 'pg', connection: url, pool: { min: 0, max: 4 } });
  const times: number[] = [];
  for (let i = 0; i < TASKS; i++) {
    const start = performance.now();
    await knex.transaction((trx) => trx('t').insert({ v: 'x' }), { isolationLevel: 'repeatable read' });
    times.push(performance.now() - start);
  }
  await knex.destroy();
  return times.slice(WARM_UP);
}

function computeMedian(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}
