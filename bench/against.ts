import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Benchmark, Row, Stage } from './benchmark.js';
import { BULK, type BulkCase, type Inputs, createBulkRun, prepareBulk } from './bulk.js';
import { BIN, createEtlCommand, createEtlRun } from './etl.js';
import { compare, measureUsage, type Variant } from './measure.js';
import { expectRows } from './movement.js';
import { createRatioRow } from './row.js';

/** The largest allowed ratio of this build to the other build, of the time and of the processor time. */
const AT_MOST = 1.03;
const ROUNDS = 15;
const SHORT_ROUNDS = 7;
/** Starts are short, so their noise is a larger part. */
const START_ROUNDS = 25;

/**
 * Creates the benchmarks that compare this build with the build of another checkout, in turns: starts and a run of 400
 * tasks in a chain (`starts`), and every way to move rows (`load`, `unload` and the other kinds of `BULK`). `checkout` is
 * the directory of the other checkout, in which `npm run build` has run.
 */
export function listAgainst(checkout: string): readonly Benchmark[] {
  const bin = join(checkout, 'bin/run.js');
  const kinds = [...new Set(BULK.map(({ kind }) => kind))];
  return [
    { name: 'starts', run: (stage) => compareStarts(stage, bin) },
    ...kinds.map((name) => ({
      name,
      run: (stage: Stage) =>
        compareBulk(
          stage,
          bin,
          BULK.filter(({ kind }) => kind === name),
        ),
    })),
  ];
}

async function compareStarts(stage: Stage, bin: string): Promise<readonly Row[]> {
  const { server } = stage;
  const rounds = stage.isShort ? SHORT_ROUNDS : START_ROUNDS;
  // Each build has a database of its own, because another release can have another version of the ledger.
  for (const url of [server.url, server.otherUrl])
    await server.query('create table if not exists chained (v text)', url);
  await server.query('create table if not exists item (id int)', server.otherUrl);
  const env = { DATABASE_URL: server.otherUrl, OTHER_URL: server.url };
  const works: readonly (readonly [string, Variant])[] = [
    ['`etl run`: one task', createEtlRun(stage, 'one')],
    ['`etl run`: 400 tasks in a chain', createEtlRun(stage, 'chain')],
    ['`etl --help`', createEtlCommand('etl', ['--help'])],
  ];
  const rows: Row[] = [];
  for (const [work, ours] of works) {
    stage.say(work);
    const theirs = { ...ours, ...(ours.env && { env }) };
    rows.push(...(await compareBuilds(work, { ours, theirs, bin, rounds })));
  }
  return rows;
}

async function compareBulk(stage: Stage, bin: string, cases: readonly BulkCase[]): Promise<readonly Row[]> {
  const inputs = await prepareBulk(stage);
  const rows: Row[] = [];
  const { server } = stage;
  for (const each of cases) {
    stage.say(each.work);
    const ours = createRound(stage, each, inputs, server.url);
    const theirs = createRound(stage, each, inputs, server.otherUrl);
    const rounds = stage.isShort ? SHORT_ROUNDS : ROUNDS;
    rows.push(...(await compareBuilds(each.work, { ours, theirs, bin, rounds })));
  }
  return rows;
}

/** Creates the variant that runs a case in one of the databases. */
function createRound(stage: Stage, each: BulkCase, inputs: Inputs, url: string): Variant {
  const { server, folder } = stage;
  const to = join(folder, `to.${each.to ?? 'csv'}`);
  const from = inputs.find(each.from ?? 'csv');
  return {
    ...createBulkRun(stage, each, { url, from, to }),
    before: () => server.query(`${each.before ?? 'truncate ev'}; checkpoint`, url),
    after: async () => {
      if (each.table !== undefined) await expectRows(stage, each.table, inputs.rows, url);
      if (each.to === undefined) return;
      if ((await stat(to)).size < inputs.rows) throw new Error(`${to} is too short`);
      await rm(to);
    },
  };
}

/** The builds that are compared. */
interface Builds {
  readonly ours: Variant;
  /** The same work with the data of the other build. */
  readonly theirs: Variant;
  /** The start script of the other build. */
  readonly bin: string;
  readonly rounds: number;
}

async function compareBuilds(work: string, { ours, theirs, bin, rounds }: Builds): Promise<readonly Row[]> {
  const [program, , ...args] = theirs.argv;
  const other = { ...theirs, name: 'the other build', argv: [program, bin, ...args] as const };
  const own = { ...ours, argv: [program, BIN, ...args] as const };
  // Each build keeps its compiled code in the first two starts.
  for (const variant of [own, other]) await measureUsage(variant);
  const [reference, measured] = await compare([other, own], rounds);
  if (!reference || !measured) return [];
  return [
    createRatioRow({ work, atMost: AT_MOST }, reference, measured),
    createRatioRow({ work: `${work}, CPU`, atMost: AT_MOST }, reference, measured, 'cpu'),
  ];
}
