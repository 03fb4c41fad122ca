import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { cluster } from '../../support/database.js';
import { commitProxy } from '../../support/proxy.js';
import { startTransactionPooler } from '../../support/transaction-pooler.js';
import { createAtOnce } from '../creators.js';
import type { Fault, Shard } from '../fault.js';
import { fence } from '../fencing.js';
import { takeOver } from '../lock.js';
import { readNaively } from '../pipe.js';
import { startNode } from '../product.js';
import { openDurable } from '../server.js';
import { SpreadKills } from '../spread.js';
import { suspend } from '../suspend.js';
import { truncate } from '../truncate.js';
import { Workload } from '../workload.js';

const MINI_RUNNER = fileURLToPath(new URL('./mini-runner.js', import.meta.url));

/** A control that is not found guilty after this number of injections counts as not found. */
const MAX_INJECTIONS = 200;
/** The number of wrong tasks that proves a control guilty. */
const ENOUGH = 3;
const MINI_LEDGER =
  'create table mini (run_id text, task_id text, state text, primary key (run_id, task_id))';

/** Common wrong ways to run tasks, under the same faults. The suite must find the mistake of each. */
export const CONTROLS: readonly Fault[] = [
  {
    id: 'C1',
    title: 'control: recorded after the commit',
    control: true,
    run: (shard) => killMini(shard, 'after'),
  },
  {
    id: 'C2',
    title: 'control: recorded before the commit',
    control: true,
    run: (shard) => killMini(shard, 'before'),
  },
  { id: 'C3', title: 'control: retry on a connection error', control: true, run: retryOnAnyError },
  {
    id: 'C4',
    title: 'control: lock lost, and no epoch',
    control: true,
    run: (shard) => takeOver(shard, true),
  },
  { id: 'C5', title: "control: a session's lock behind a pooler", control: true, run: lockBehindPooler },
  {
    id: 'C6',
    title: 'control: asynchronous commits to the end',
    control: true,
    run: crashAsynchronous,
  },
  {
    id: 'C7',
    title: 'control: an epoch of its own in the second database',
    control: true,
    run: (shard) => fence(shard, true),
  },
  {
    id: 'C8',
    title: 'control: a late look of the watchdog as proof',
    control: true,
    seconds: 10,
    run: (shard) => suspend(shard, true),
  },
  { id: 'C9', title: 'control: a named pipe read by a thread', control: true, run: readNaively },
  {
    id: 'C10',
    title: 'control: a compressed body read by fetch',
    control: true,
    run: (shard) => truncate(shard, true),
  },
  {
    id: 'C11',
    title: 'control: create table if not exists, at once',
    control: true,
    run: (shard) => createAtOnce(shard, true),
  },
];

async function killMini(shard: Shard, mode: 'after' | 'before'): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally, { tasks: 40 });
  await work.db.query(MINI_LEDGER);
  const kills = new SpreadKills(shard, { kills: MAX_INJECTIONS, workMs: 100 });
  while (tally.wrong < ENOUGH && !kills.areDone) {
    const runId = await work.newRun();
    for (let code: number | null = null; code !== 0;) {
      const env = { ...work.env, DATABASE_URL: work.db.url, RUN_ID: runId, MODE: mode };
      const running = startNode([MINI_RUNNER], shard.product.directory, { env });
      await kills.strike(running);
      ({ code } = await running.ended);
    }
    await work.check(runId, { ledger: 'mini' });
  }
}

/**
 * Runs tasks with their record in one transaction, but treats a lost connection as a rollback and runs the task again.
 */
async function retryOnAnyError(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  const { port } = await cluster();
  await using work = await Workload.create(tally);
  await work.db.query(MINI_LEDGER.replace(', primary key (run_id, task_id)', ''));
  await using proxy = await commitProxy(port, 'answer lost', {
    isHit: () => random.next() < 0.4,
    onCut: () => tally.injections++,
  });
  const url = work.db.url.replace(`:${port}/`, `:${proxy.port}/`);
  while (tally.wrong < ENOUGH && tally.injections < MAX_INJECTIONS && !shard.isOver()) {
    const runId = await work.newRun();
    for (let i = 0; i < work.tasks; i++) {
      while (!(await runTask(url, [runId, `t${i}`], work.rows)));
    }
    await work.check(runId, { ledger: 'mini' });
  }
}

/** Runs one task. Returns false after any error. */
async function runTask(url: string, key: readonly string[], rows: number): Promise<boolean> {
  const client = new Client(url);
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('begin');
    await client.query(`select nextval('executions')`);
    await client.query('insert into effect select $1, $2, generate_series(1, $3::int)', [...key, rows]);
    await client.query('update counter set n = n + 1 where run_id = $1 and task_id = $2', [...key]);
    await client.query(`insert into mini values ($1, $2, 'success')`, [...key]);
    await client.query('commit');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Takes a session's lock behind a pooler. The pooler gives the server session to another client after each transaction,
 * so several clients get the lock.
 */
async function lockBehindPooler({ tally }: Shard): Promise<void> {
  await using work = await Workload.create(tally);
  await using pooler = await startTransactionPooler();
  const clients = Array.from({ length: 6 }, () => new Client(pooler.url(work.db.url)));
  let holders = 0;
  for (const client of clients) {
    await client.connect();
    const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock(7) as taken');
    tally.injections++;
    if (rows[0]?.taken) holders++;
  }
  await Promise.all(clients.map((client) => client.end()));
  tally.doubled += Math.max(0, holders - 1);
}

/** Crashes the server after the mini runner exited with 0 and before the server wrote its commits to the disk. */
async function crashAsynchronous({ tally, product }: Shard): Promise<void> {
  await using server = await openDurable();
  await using work = await Workload.create(tally, { server });
  await work.db.query(MINI_LEDGER);
  while (tally.wrong === 0 && tally.injections < 5) {
    const runId = await work.newRun();
    await work.db.query('checkpoint');
    const env = { ...work.env, DATABASE_URL: work.db.url, RUN_ID: runId, MODE: 'asynchronous' };
    await startNode([MINI_RUNNER], product.directory, { env }).ended;
    await server.restart('immediate');
    tally.injections++;
    await work.check(runId, { ledger: 'mini' });
  }
}
