import { build } from 'esbuild';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Benchmark, Row, Stage } from './benchmark.js';
import { computeQuantile } from './measure.js';

const run = promisify(execFile);
const WALK = fileURLToPath(new URL('./programs/walk.ts', import.meta.url));
const SHAPES = ['chain', 'fan-out', 'layered'];
const MOST_US = 5;
const MOST_MB = 500;

/** Defines, plans and runs Dags of tasks that do nothing, each in a process of its own. */
export const SCHEDULER: Benchmark = {
  name: 'scheduler',
  run: async ({ isShort, folder, say }: Stage) => {
    const rows: Row[] = [];
    const program = join(folder, 'walk.cjs');
    // Bundles the program to one file without types, like the release.
    await build({
      entryPoints: [WALK],
      outfile: program,
      bundle: true,
      format: 'cjs',
      platform: 'node',
      target: 'node20.19',
      define: { 'import.meta.url': 'bundleUrl' },
      banner: { js: `const bundleUrl = require('node:url').pathToFileURL(__filename).href;` },
      logLevel: 'error',
    });
    for (const count of isShort ? [1000, 100_000] : [1000, 10_000, 100_000, 1_000_000]) {
      for (const shape of SHAPES) {
        say(`${count.toLocaleString('en')} tasks, ${shape}`);
        rows.push(await measureWalk([program, shape, String(count)], isShort ? 1 : 3));
      }
    }
    return rows;
  },
};

interface Walked {
  readonly defineMs: number;
  readonly planMs: number;
  readonly walkMs: number;
  readonly peakMb: number;
}

async function measureWalk(
  [program, shape, size]: readonly [string, string, string],
  rounds: number,
): Promise<Row> {
  const count = Number(size);
  const walked: Walked[] = [];
  for (let round = 0; round < rounds; round++) {
    walked.push(JSON.parse((await run(process.execPath, [program, shape, size])).stdout) as Walked);
  }
  const median = (of: (each: Walked) => number): number => computeQuantile(walked.map(of), 0.5);
  const us = (median(({ defineMs, planMs, walkMs }) => defineMs + planMs + walkMs) * 1000) / count;
  const peakMb = median((each) => each.peakMb);
  const hasLimit = count >= 100_000;
  return {
    work: `${count.toLocaleString('en')} tasks, ${shape}: define, plan, walk`,
    reference: undefined,
    figure: `${us.toFixed(1)} µs a task`,
    spread: '',
    limit: hasLimit ? `${MOST_US} µs, ${MOST_MB} MB` : '',
    isMet: !hasLimit || (us <= MOST_US && peakMb <= MOST_MB),
    times: `${median((each) => each.defineMs).toFixed(0)} + ${median((each) => each.planMs).toFixed(0)} + ${median((each) => each.walkMs).toFixed(0)} ms`,
    peakMb,
  };
}
