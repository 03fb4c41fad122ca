import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { createDatabase } from '../support/database.js';
import type { Fault, Shard } from './fault.js';
import { formatEnded, startNode } from './product.js';

const NAIVE_READER = fileURLToPath(new URL('./controls/naive-reader.js', import.meta.url));
/** The time that a load may take, in milliseconds. */
const TIMEOUT_MS = 700;
/** A process that has not ended after this time, in milliseconds, never ends. */
const LIMIT_MS = 15_000;
const CONTROL_LIMIT_MS = 3000;

/** The ways to read the pipe, with the options of the load. */
const WAYS = {
  plain: '{}',
  transform: '{ transform: (row) => row }',
  gzip: `{ compression: 'gzip' }`,
  rejects: `{ rejects: { max: 1, to: 'bad' } }`,
} as const;
/** The writers of the pipe: nobody, or a writer that stops in the middle and keeps the pipe open. */
const WRITERS = ['nobody', 'half'] as const;

const TEXT = `v\n${Array.from({ length: 1000 }, (_, n) => `row ${n}`).join('\n')}\n`;

const CONFIG = `
import { dag, defineConfig } from '@oneshot/etl';
const ways = { ${Object.entries(WAYS)
  .map(([name, options]) => `${name}: ${options}`)
  .join(', ')} };
export default defineConfig({ dags: [dag('pipe', { defaults: { conn: 'db', timeout: '${TIMEOUT_MS}ms' } }, (d) => {
  d.load('l', { from: process.env.PIPE, into: 't', mode: 'replace', ...ways[process.env.WAY] });
})] });`;

/** Faults of the program at the other end of a named pipe. */
export const PIPES: readonly Fault[] = [
  { id: 'F23', title: 'a named pipe without a writer, or with a silent one', seconds: 15, run: readPipes },
];

/** Loads from named pipes that never end. The process must report the timeout, end by itself, and keep nothing. */
async function readPipes(shard: Shard): Promise<void> {
  const { tally, product } = shard;
  await using db = await createDatabase({ mayLeak: true });
  await db.query(`create table t (v text); insert into t values ('old')`);
  await writeFile(join(product.directory, 'pipe.config.js'), CONFIG);
  for (const way of Object.keys(WAYS) as (keyof typeof WAYS)[]) {
    for (const writer of WRITERS) {
      if (shard.isOver()) return;
      const runId = `${way}-${writer}`;
      const args = ['run', 'pipe', '--config', 'pipe.config.js', '--run-id', runId];
      const ended = await withPipe(shard, { way, writer }, (path) => {
        const env = { ETL_CONN_DB: db.url, PIPE: path, WAY: way };
        return product.start(args, { env, limitMs: LIMIT_MS }).ended;
      });
      tally.injections++;
      tally.runs++;
      tally.tasks++;
      tally.executions++;
      if (ended.code !== 1 || !ended.stderr.includes('ETL-3301'))
        tally.addProblem(`${runId}: ${formatEnded(ended)}`);
      const rows = await db.query<{ v: string }>('select v from t');
      const recorded = await db.query(
        `select from etl.task where run_id = $1 and state = 'success' and seal is null`,
        [runId],
      );
      const [{ bad } = {}] = await db.query<{ bad: string | null }>(`select to_regclass('bad')::text as bad`);
      if (rows.map(({ v }) => v).join() === 'old' && recorded.length === 0 && bad === null) continue;
      tally.partial++;
      tally.addExample(`${runId}: ${rows.length} rows, recorded ${recorded.length}, rejects in ${bad}`);
    }
  }
  const left = await db.leftSessions();
  if (left.length > 0) tally.addProblem(`${left.length} sessions are still open`);
}

/** A control: a process that reads a pipe without a writer in a thread. Counts the task of a process that never ends. */
export async function readNaively(shard: Shard): Promise<void> {
  const { tally, product } = shard;
  const ended = await withPipe(shard, { way: 'plain', writer: 'nobody' }, (path) => {
    const env = { PIPE: path, TIMEOUT_MS: String(TIMEOUT_MS) };
    return startNode([NAIVE_READER], product.directory, { env, limitMs: CONTROL_LIMIT_MS }).ended;
  });
  tally.injections++;
  tally.runs++;
  tally.tasks++;
  if (ended.signal === 'SIGKILL' && ended.stderr.includes('timeout')) tally.lost++;
}

/** Calls `use` with the path of a new named pipe. A silent writer has written a half of the rows by then. */
async function withPipe<T>(
  { product }: Shard,
  { way, writer }: { readonly way: keyof typeof WAYS; readonly writer: (typeof WRITERS)[number] },
  use: (path: string) => Promise<T>,
): Promise<T> {
  const path = join(product.directory, `${way}-${writer}.pipe.csv`);
  await rm(path, { force: true });
  execFileSync('mkfifo', [path]);
  if (writer === 'nobody') return use(path);
  // For reading too, because Linux then does not wait for a reader.
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  try {
    const bytes = way === 'gzip' ? gzipSync(TEXT) : Buffer.from(TEXT);
    writeSync(fd, bytes.subarray(0, bytes.length / 2));
    return await use(path);
  } finally {
    closeSync(fd);
  }
}
