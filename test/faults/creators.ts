import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { dag } from '../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { runOn } from '../support/run.js';
import type { Fault, Shard } from './fault.js';
import { formatReason } from './in-process.js';

const STORMS = 6;
const CONTROL_STORMS = 10;
const RUNS = 3;
const LOADS = 3;
const ROWS = 20;

/** Faults of loads that create the same tables. */
export const CREATORS: readonly Fault[] = [
  { id: 'F25', title: 'nine loads create the same two tables', run: (shard) => createAtOnce(shard) },
];

/**
 * Starts loads at once that create the same table and the same table of rejected rows. Each must succeed, with each row
 * once. `isControl`: the loads of a simple runner, which creates tables with `if not exists`.
 */
export async function createAtOnce(shard: Shard, isControl = false): Promise<void> {
  const { tally } = shard;
  await using db = await createDatabase({ mayLeak: true });
  const root = await mkdtemp(join(shard.product.directory, 'creators-'));
  const loads = Array.from({ length: RUNS * LOADS }, (_, n) => `l${n}`);
  for (const load of loads) await writeFile(join(root, `${load}.csv`), createText(load));
  const storms = isControl ? CONTROL_STORMS : STORMS;
  const enough = isControl ? 1 : Infinity;
  for (let n = 0; n < storms && tally.wrong < enough && !shard.isOver(); n++) {
    await db.query('drop table if exists t, bad');
    if (isControl) await Promise.all(loads.map((load) => loadNaively(db, load)));
    else await startRuns(shard, { db, root, loads });
    tally.injections++;
    await count(shard, db, loads);
  }
  await rm(root, { recursive: true });
}

/** Creates a file with `ROWS` rows, and a row that the server refuses because it has too many values. */
function createText(load: string): string {
  const rows = Array.from({ length: ROWS }, (_, n) => `${n},${load}\n`);
  return `n,load\n${rows.join('')}${ROWS},${load},more\n`;
}

interface Storm {
  readonly db: TestDatabase;
  readonly root: string;
  readonly loads: readonly string[];
}

/** Starts several Dags at once, each with several loads. */
async function startRuns({ tally, random }: Shard, { db, root, loads }: Storm): Promise<void> {
  const runs = Array.from({ length: RUNS }, async (_, run) => {
    const graph = dag(`creator-${run}`, { defaults: { conn: 'db' } }, (d) => {
      for (const load of loads.slice(run * LOADS, (run + 1) * LOADS))
        d.load(load, {
          from: `${load}.csv`,
          into: 't',
          mode: 'append',
          create: true,
          rejects: { max: 1, to: 'bad' },
        });
    });
    const ended = await runOn({ db: db.url }, graph, {
      root,
      concurrency: LOADS,
      random: () => random.next(),
    });
    tally.runs++;
    tally.executions += ended.tasks.reduce((sum, { attempts }) => sum + attempts, 0);
    if (ended.state !== 'success') tally.addProblem(formatReason(ended));
  });
  await Promise.all(runs);
}

/** Loads the rows in one transaction. Any error ends the load. */
async function loadNaively({ url }: TestDatabase, load: string): Promise<void> {
  const client = new Client(url);
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('begin');
    await client.query('create table if not exists t (n int, load text)');
    await client.query('create table if not exists bad (task_id text, raw text)');
    await client.query('insert into t select generate_series(0, $1::int - 1), $2', [ROWS, load]);
    await client.query(`insert into bad values ($1, 'more')`, [load]);
    await client.query('commit');
  } catch {
    // The load has failed: 23505 or 42P07. Its rows are missing, and are counted.
  } finally {
    await client.end();
  }
}

/** Counts the loads whose rows and rejected row are not there exactly once. */
async function count({ tally }: Shard, db: TestDatabase, loads: readonly string[]): Promise<void> {
  const found = await db.query<{ load: string; rows: number; different: number; rejected: number }>(
    `select load, (select count(*)::int from t where t.load = l.load) as rows,
       (select count(distinct n)::int from t where t.load = l.load) as different,
       (select count(*)::int from bad where task_id = l.load) as rejected
     from unnest($1::text[]) as l (load)`,
    [loads],
  );
  for (const { load, rows, different, rejected } of found) {
    tally.tasks++;
    if (rows === ROWS && different === ROWS && rejected === 1) continue;
    tally[rows === 0 ? 'lost' : rows > different || rejected > 1 ? 'doubled' : 'partial']++;
    tally.addExample(`${load}: ${rows} of ${ROWS} rows, ${different} different, ${rejected} rejected`);
  }
}
