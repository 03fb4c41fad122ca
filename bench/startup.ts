import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Benchmark, Row, Stage } from './benchmark.js';
import { createEtlCommand, createEtlRun, createProgram } from './etl.js';
import { compare, type Timed } from './measure.js';
import { formatMilliseconds, createRatioRow } from './row.js';

const WARM_MS = 10;
/** Compiling a config that was edited takes a while; the compiled text is kept. */
const EDITED_MS = 380;

const TYPESCRIPT = `
  import { defineConfig } from '@oneshot/etl';
  import { url } from './connections.js';
  export default defineConfig({ connections: { db: url } });
`;

/** Measures whole processes with almost no work, from the start to the exit code. */
export const STARTUP: Benchmark = {
  name: 'startup',
  run: async (stage) => [...(await compareWithScript(stage)), ...(await compareConfigs(stage))],
};

async function compareWithScript(stage: Stage): Promise<readonly Row[]> {
  stage.say('start-up against a bare script');
  const [bare, run, help, version] = await compare(
    [
      createProgram(stage, 'bare'),
      createEtlRun(stage, 'one'),
      createEtlCommand('--help', ['--help']),
      createEtlCommand('--version', ['--version']),
    ],
    stage.isShort ? 7 : 21,
  );
  if (!bare || !run || !help || !version) return [];
  const reference = { ...bare, name: 'node + pg: BEGIN, SELECT 1, COMMIT' };
  return [
    createRatioRow(
      { work: '`etl run`: one task, an Objection model', atMost: 1.1, peakMb: 75 },
      reference,
      run,
    ),
    createRatioRow({ work: '`etl --help`', atMost: 0.95 }, reference, help),
    createRatioRow({ work: '`etl --version`', atMost: 0.95 }, reference, version),
  ];
}

async function compareConfigs(stage: Stage): Promise<readonly Row[]> {
  stage.say('kinds of config');
  const [json, warmed, changed] = ['json', 'warm', 'edited'].map((name) => join(stage.folder, name));
  if (!json || !warmed || !changed) return [];
  for (const folder of [json, warmed, changed]) {
    await mkdir(folder);
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  }
  await writeFile(join(json, 'etl.config.json'), '{ "connections": { "db": "postgres://localhost/db" } }');
  for (const folder of [warmed, changed]) {
    await writeFile(
      join(folder, 'connections.ts'),
      "export const url: string = 'postgres://localhost/db';\n",
    );
    await writeFile(join(folder, 'etl.config.ts'), TYPESCRIPT);
  }
  let edits = 0;
  const list = ['connections', 'list', '--json'];
  const [base, warm, cold] = await compare(
    [
      createEtlCommand('JSON', list, { cwd: json }),
      createEtlCommand('TypeScript', list, { cwd: warmed }),
      createEtlCommand('TypeScript, edited', list, {
        cwd: changed,
        before: () => appendFile(join(changed, 'connections.ts'), `// ${++edits}\n`),
      }),
    ],
    stage.isShort ? 7 : 21,
  );
  if (!base || !warm || !cold) return [];
  return [
    createDifferenceRow('a TypeScript config, warm', WARM_MS, base, warm),
    createDifferenceRow('a TypeScript config after an edit', EDITED_MS, base, cold),
  ];
}

function createDifferenceRow(work: string, mostMs: number, base: Timed, ours: Timed): Row {
  const ms = ours.wall.medianMs - base.wall.medianMs;
  return {
    work,
    reference: 'a JSON config',
    figure: `${ms < 0 ? '-' : '+'}${Math.abs(ms).toFixed(0)} ms`,
    spread: '',
    limit: `+${mostMs} ms`,
    isMet: ms <= mostMs,
    times: `${formatMilliseconds(ours.wall.medianMs)} / ${formatMilliseconds(base.wall.medianMs)}`,
    peakMb: ours.peakMb,
  };
}
