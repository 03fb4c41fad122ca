import { join } from 'node:path';
import type { Benchmark, Row } from './benchmark.js';
import { BIN, createEtlRun } from './etl.js';
import { compare, measureTime, type Variant } from './measure.js';
import { createRatioRow } from './row.js';

/** The largest allowed ratio of this build to the other build. */
const AT_MOST = 1.03;

/**
 * Creates the benchmark that compares this build with the build of another checkout, in turns: starts, and a run of 400
 * tasks in a chain. `checkout` is the directory of the other checkout, in which `npm run build` has run.
 */
export function createAgainst(checkout: string): Benchmark {
  const bin = join(checkout, 'bin/run.js');
  return {
    name: 'against',
    run: async (stage) => {
      stage.say(`this build against ${checkout}`);
      const rounds = stage.isShort ? 7 : 25;
      const runs = ['one', 'chain'].map((dagId) => createEtlRun(stage, dagId));
      const help: Variant = { ...createEtlRun(stage, 'one'), argv: [process.execPath, BIN, '--help'] };
      const rows: Row[] = [];
      const { server } = stage;
      // Each build has a database of its own, because another release can have another version of the ledger.
      for (const url of [server.url, server.otherUrl])
        await server.query('create table chained (v text)', url);
      await server.query('create table item (id int)', server.otherUrl);
      const env = { DATABASE_URL: server.otherUrl, OTHER_URL: server.url };
      const works = ['`etl run`: one task', '`etl run`: 400 tasks in a chain', '`etl --help`'];
      for (const [index, ours] of [...runs, help].entries())
        rows.push(...(await compareBuilds(works[index] ?? '', { ours, bin, rounds, env })));
      return rows;
    },
  };
}

/** The builds that are compared. */
interface Builds {
  readonly ours: Variant;
  /** The start script of the other build. */
  readonly bin: string;
  readonly rounds: number;
  /** The environment of the other build. */
  readonly env: NonNullable<Variant['env']>;
}

async function compareBuilds(work: string, { ours, bin, rounds, env }: Builds): Promise<readonly Row[]> {
  const [program, own, ...args] = ours.argv;
  const other = { ...ours, name: 'the other build', argv: [program, bin, ...args] as const, env };
  // Each build keeps its compiled code in the first two starts.
  for (const variant of [ours, other, ours, other]) await measureTime(variant);
  const [reference, measured] = await compare(
    [other, { ...ours, argv: [program, own ?? '', ...args] }],
    rounds,
  );
  return reference && measured ? [createRatioRow({ work, atMost: AT_MOST }, reference, measured)] : [];
}
