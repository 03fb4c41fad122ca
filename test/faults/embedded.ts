import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Gate } from '../support/gate.js';
import type { Fault, Shard } from './fault.js';
import { formatEnded, startNode, type StartOptions } from './product.js';
import { strike } from './resume.js';
import { SpreadKills } from './spread.js';
import { buildEffectQuery, countEffects, TABLES, type TaskEffect } from './workload.js';

const PGLITE = fileURLToPath(new URL('./pglite.js', import.meta.url));
const KILLS = 6;
const MAX_PROCESSES = 20;
const WORK = { WORK_TASKS: '12', WORK_ROWS: '40', WORK_PAUSE: '0' };

/** Faults of the embedded database. */
export const EMBEDDED: readonly Fault[] = [
  { id: 'F19', title: 'embedded: kill -9, and a second process', seconds: 25, run: killEmbedded },
];

async function killEmbedded(shard: Shard): Promise<void> {
  const { tally, product } = shard;
  const parent = await mkdtemp(join(product.directory, 'pglite-'));
  const template = join(parent, 'template');
  const counters = `insert into counter select 'r', 't' || g from generate_series(0, 11) g`;
  await runSql(shard, template, `${TABLES}; ${counters}`);
  const kills = new SpreadKills(shard, { kills: KILLS, workMs: 300 });
  for (let run = 0; !kills.areDone; run++) {
    const directory = join(parent, `run-${run}`);
    await cp(template, directory, { recursive: true });
    // After a kill, a sequence of this database loses values that no COMMIT has written. So a file counts executions.
    const WORK_TRACE = join(parent, `trace-${run}`);
    const env = { ...WORK, WORK_TRACE, ETL_CONN_DB: `pglite:${directory}` };
    if (run === 0) await refuseSecond(shard, env);
    let isDone = false;
    let isKnown = run === 0;
    for (let n = 0; n < MAX_PROCESSES && !isDone; n++) {
      const running = product.run('r', isKnown, { env });
      await kills.strike(running);
      isKnown = true;
      const ended = await running.ended;
      isDone = ended.code === 0;
      if (!isDone && ended.signal !== 'SIGKILL') tally.addProblem(formatEnded(ended));
    }
    tally.runs++;
    const effects = await runSql<TaskEffect>(shard, directory, buildEffectQuery(), ['r']);
    countEffects(effects, { tally, what: `run-${run}`, rows: Number(WORK.WORK_ROWS), isDone: true });
    tally.executions += (await readFile(WORK_TRACE)).length;
  }
  await rm(parent, { recursive: true, force: true });
}

/** Checks that a second process is refused while a run works. Then kills the run at its first task. */
async function refuseSecond({ tally, product }: Shard, env: NonNullable<StartOptions['env']>): Promise<void> {
  await using gate = await Gate.open();
  const first = product.run('r', false, { env: { ...env, WORK_GATE: String(gate.port) } });
  await gate.next();
  const second = await product.run('other', false, { env }).ended;
  if (second.code !== 75) tally.addProblem(`a second process was not refused: ${formatEnded(second)}`);
  if (strike(first, 'SIGKILL')) tally.injections++;
  await first.ended;
}

/** Runs SQL in the embedded database, in a process of its own. Returns the rows of the last statement. */
async function runSql<Row>(
  { product }: Shard,
  directory: string,
  text: string,
  values: readonly string[] = [],
): Promise<Row[]> {
  const ended = await startNode([PGLITE, directory, text, ...values], product.directory, {}).ended;
  if (ended.code !== 0) throw new Error(formatEnded(ended));
  return JSON.parse(ended.stdout) as Row[];
}
