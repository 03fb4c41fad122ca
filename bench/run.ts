import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { arch, cpus, platform, tmpdir, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { stopCluster } from '../test/support/cluster.js';
import { listAgainst } from './against.js';
import type { Benchmark, Row } from './benchmark.js';
import { warmUp } from './etl.js';
import { MERGE } from './merge.js';
import { LOAD, ROWS, TRANSFER, UNLOAD } from './movement.js';
import { PER_TASK } from './per-task.js';
import { SCHEDULER } from './scheduler.js';
import { startServer } from './server.js';
import { STARTUP } from './startup.js';

const BENCHMARKS: readonly Benchmark[] = [STARTUP, PER_TASK, SCHEDULER, LOAD, UNLOAD, TRANSFER, ROWS, MERGE];

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    only: { type: 'string' },
    against: { type: 'string' },
  },
});
await main(values.short, values.only?.split(','));

async function main(isShort: boolean, only: readonly string[] | undefined): Promise<void> {
  const known = values.against === undefined ? BENCHMARKS : listAgainst(resolve(values.against));
  const chosen = known.filter(({ name }) => only === undefined || only.includes(name));
  const folder = await mkdtemp(join(tmpdir(), 'etl-bench-'));
  const psqlVersion = await findVersion('psql');
  if (psqlVersion === undefined)
    say('psql is not on the PATH: benchmarks that compare with psql are left out');
  const startedAt = performance.now();
  const rows: Row[] = [];
  try {
    const server = await startServer();
    const stage = { server, folder, isShort, hasPsql: psqlVersion !== undefined, say };
    await warmUp(stage);
    for (const benchmark of chosen) rows.push(...(await benchmark.run(stage)));
    const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
    process.stdout.write(
      `${formatTable(rows)}\n\n${describeMachine(server.version, psqlVersion)} ${minutes} min.\n`,
    );
  } finally {
    await stopCluster();
    await rm(folder, { recursive: true, force: true });
  }
}

function formatTable(rows: readonly Row[]): string {
  const lines = rows.map(({ work, reference = '', figure, spread, limit, isMet, times, peakMb }) => [
    work,
    reference,
    figure,
    spread,
    limit === '' ? '' : `${limit}${isMet ? '' : ' **missed**'}`,
    times,
    peakMb === undefined ? '' : `${peakMb.toFixed(0)} MB`,
  ]);
  const head = ['work', 'reference', 'ratio', 'quartiles', 'at most', 'ours / reference', 'peak'];
  return [head, head.map(() => '---'), ...lines].map((line) => `| ${line.join(' | ')} |`).join('\n');
}

function describeMachine(server: string, psql: string | undefined): string {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return (
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} cores (${cpu?.model.trim() ?? arch()}), ${memory} GiB, ${platform()}, ` +
    `Node ${process.versions.node}, PostgreSQL ${server} (fsync on), psql ${psql ?? 'absent'}.`
  );
}

async function findVersion(program: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(program, ['--version']);
    return /\d+(?:\.\d+)+/.exec(stdout)?.[0];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
