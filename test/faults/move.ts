import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createDatabase } from '../support/database.js';
import type { Fault, Shard } from './fault.js';
import { formatEnded } from './product.js';
import { SpreadKills } from './spread.js';
import { countExecutions, EXECUTIONS } from './workload.js';

const KILLS = 20;
const BATCHES = 4;
const SIZE = 50;
const MAX_PROCESSES = 40;

/** Faults while rows move from one database to another. */
export const MOVES: readonly Fault[] = [
  { id: 'F18', title: 'two databases, kill -9 between them', seconds: 20, run: move },
];

const CONFIG = `
import { dag, defineConfig } from '@oneshot/etl';
import pg from 'pg';
export default defineConfig({ dags: [dag('move', { defaults: { conn: 'a' } }, (d) => {
  let before;
  for (let batch = 0; batch < ${BATCHES}; batch++) {
    const [from, to] = [batch * ${SIZE}, (batch + 1) * ${SIZE}];
    const copy = d.session('copy-' + batch, { conn: 'b', needs: before ? [before] : [] }, async ({ session, run }) => {
      await session.raw("select nextval('executions')");
      const source = new pg.Client(process.env.ETL_CONN_A);
      await source.connect();
      try {
        const { rows } = await source.query('select run_id, id from source where run_id = $1 and id >= $2 and id < $3',
          [run.id, from, to]);
        for (const row of rows.slice(0, 5)) await session('target').insert(row);
        await session('target').insert(rows.slice(5));
        return rows.length;
      } finally {
        await source.end();
      }
    });
    before = d.session('delete-' + batch, { needs: [copy] }, async ({ session, run }) => {
      await session.raw("select nextval('executions')");
      await session.raw('delete from source where run_id = ? and id >= ? and id < ?', [run.id, from, to]);
    });
  }
})] });`;

async function move(shard: Shard): Promise<void> {
  const { tally, product } = shard;
  await using a = await createDatabase({ mayLeak: true });
  await using b = await createDatabase({ mayLeak: true });
  await a.query(`create table source (run_id text, id int); ${EXECUTIONS}`);
  await b.query(`create table target (run_id text, id int); ${EXECUTIONS}`);
  await writeFile(join(product.directory, 'move.config.js'), CONFIG);
  const env = { ETL_CONN_A: a.url, ETL_CONN_B: b.url };
  const kills = new SpreadKills(shard, { kills: KILLS, workMs: 150 });
  for (let run = 1; !kills.areDone; run++) {
    const runId = `r${run}`;
    await a.query('insert into source select $1, generate_series(0, $2::int - 1)', [runId, BATCHES * SIZE]);
    let isDone = false;
    for (let n = 0; n < MAX_PROCESSES && !isDone; n++) {
      const args = ['run', 'move', '--config', 'move.config.js', '--reporter', 'ndjson', '--run-id', runId];
      const running = product.start(n === 0 ? args : [...args, '--resume'], { env });
      await kills.strike(running);
      const ended = await running.ended;
      isDone = ended.code === 0;
      if (!isDone && ended.signal !== 'SIGKILL' && ended.code !== 75) tally.addProblem(formatEnded(ended));
    }
    tally.runs++;
    tally.tasks += 2 * BATCHES;
    const left = await a.query('select from source where run_id = $1', [runId]);
    const moved = await b.query<{ n: number }>(
      'select count(*)::int as n from target where run_id = $1 group by id',
      [runId],
    );
    tally.lost += BATCHES * SIZE - moved.length - left.length;
    tally.doubled += moved.filter(({ n }) => n > 1).length;
    tally.partial += left.length;
  }
  for (const { query } of [a, b]) tally.executions += await countExecutions(query);
}
