import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Benchmark, Row, Stage } from './benchmark.js';
import { createEtlRun, createProgram, createPsql } from './etl.js';
import { EVENTS, writeEvents } from './events.js';
import { compare, type Variant } from './measure.js';
import { createRatioRow, type Limit } from './row.js';
import type { Server } from './server.js';

const MILLION = 1_000_000;
/** The largest allowed peaks, in MiB: of a load without a transform, and of a load with a transform in JavaScript. */
const PASS_MB = 100;
const TRANSFORM_MB = 210;

/**
 * A number of rows and the largest allowed ratios. A million rows have no ratio for unload and transfer, because the
 * start of the program is a large part of these.
 */
interface Size {
  readonly rows: number;
  readonly rounds: number;
  readonly load: number;
  readonly transform: number;
  readonly unload?: number;
  readonly transfer?: number;
}

const ONE: Size = { rows: MILLION, rounds: 11, load: 1.15, transform: 1.2 };
const FIVE: Size = { rows: 5 * MILLION, rounds: 5, load: 1.05, transform: 1.05, unload: 1.06, transfer: 1.1 };
const SHORT: Size = { ...ONE, rounds: 3 };

/** Loads CSV files into tables. */
export const LOAD: Benchmark = {
  name: 'load',
  run: async (stage) => {
    if (!stage.hasPsql) return [];
    const { server } = stage;
    await server.query(`create table ev ${EVENTS}`);
    const rows: Row[] = [];
    for (const size of listSizes(stage)) {
      const file = join(stage.folder, `events-${size.rows}.csv`);
      stage.say(`load ${formatMillions(size.rows)} rows`);
      await writeEvents(file, size.rows);
      const round = {
        before: () => server.query('truncate ev; checkpoint'),
        after: () => expectRows(stage, 'ev', size.rows),
      };
      const env = { BENCH_FROM: file };
      const [base, plain, transformed] = await compare(
        [
          { ...createPsql('psql \\copy', server.url, [`\\copy ev from '${file}' csv header`]), ...round },
          createEtlRun(stage, 'load', { ...round, env }),
          { ...createEtlRun(stage, 'load-transformed', { ...round, env }), name: 'transformed' },
        ],
        size.rounds,
      );
      if (!base || !plain || !transformed) continue;
      const name = formatMillions(size.rows);
      rows.push(
        createRatioRow({ work: `load CSV, ${name} rows`, atMost: size.load, peakMb: PASS_MB }, base, plain),
        createRatioRow(
          {
            work: `load CSV through JavaScript, ${name} rows`,
            atMost: size.transform,
            peakMb: TRANSFORM_MB,
          },
          base,
          transformed,
        ),
      );
    }
    return rows;
  },
};

/** Unloads a table into a file. */
export const UNLOAD: Benchmark = {
  name: 'unload',
  run: async (stage) => {
    if (!stage.hasPsql) return [];
    return compareEachSize(stage, async (size) => {
      const [theirs, ours] = [join(stage.folder, 'psql.csv'), join(stage.folder, 'etl.csv')];
      const limit = {
        work: `unload CSV, ${formatMillions(size.rows)} rows`,
        atMost: size.unload,
        peakMb: PASS_MB,
      };
      const after = (file: string) => async (): Promise<void> => {
        if ((await stat(file)).size < size.rows * 50) throw new Error(`${file} is too short`);
        await rm(file);
      };
      return [
        limit,
        {
          ...createPsql('psql \\copy', stage.server.url, [`\\copy src to '${theirs}' csv header`]),
          after: after(theirs),
        },
        createEtlRun(stage, 'unload', { env: { BENCH_TO: ours }, after: after(ours) }),
      ];
    });
  },
};

/** Transfers a table from one database to another. */
export const TRANSFER: Benchmark = {
  name: 'transfer',
  run: async (stage) => {
    const { server, hasPsql } = stage;
    if (!hasPsql) return [];
    await server.query(`create table dst ${EVENTS}`, server.otherUrl);
    return compareEachSize(stage, async (size) => {
      const limit = {
        work: `transfer ${formatMillions(size.rows)} rows`,
        atMost: size.transfer,
        peakMb: PASS_MB,
      };
      const round = {
        before: () => server.query('truncate dst; checkpoint', server.otherUrl),
        after: () => expectRows(stage, 'dst', size.rows, server.otherUrl),
      };
      const copy = 'psql -X -q -v ON_ERROR_STOP=1';
      const pipe =
        `set -o pipefail; ${copy} -c 'copy src to stdout (format binary)' "$DATABASE_URL" | ` +
        `${copy} --single-transaction -c 'truncate dst' -c 'copy dst from stdin (format binary)' "$OTHER_URL"`;
      const env = { DATABASE_URL: server.url, OTHER_URL: server.otherUrl };
      return [
        limit,
        { name: 'psql to psql, binary', argv: ['bash', '-c', pipe], env, ...round },
        createEtlRun(stage, 'transfer', round),
      ];
    });
  },
};

/** Reads rows as JavaScript objects. */
export const ROWS: Benchmark = {
  name: 'rows',
  run: (stage) =>
    compareEachSize(
      stage,
      async (size) => [
        { work: `${formatMillions(size.rows)} typed rows in JavaScript`, atMost: 0.65 },
        { ...createProgram(stage, 'cursor'), name: 'pg-cursor, batches of 1,000' },
        createEtlRun(stage, 'rows'),
      ],
      [stage.isShort ? SHORT : ONE],
    ),
};

type Comparison = readonly [limit: Limit, reference: Variant, ours: Variant];

async function compareEachSize(
  stage: Stage,
  createComparison: (size: Size) => Promise<Comparison>,
  sizes: readonly Size[] = listSizes(stage),
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const size of sizes) {
    await fillTable(stage.server, size.rows);
    const [limit, reference, ours] = await createComparison(size);
    stage.say(limit.work);
    const [theirs, own] = await compare([reference, ours], size.rounds);
    if (theirs && own) rows.push(createRatioRow(limit, theirs, own));
  }
  return rows;
}

function listSizes({ isShort }: Stage): readonly Size[] {
  return isShort ? [SHORT] : [ONE, FIVE];
}

/** Creates the table `src` with this number of rows, similar to the rows of the CSV file. The server makes the rows. */
export async function fillTable(server: Server, rows: number, url = server.url): Promise<void> {
  await server.query(
    `
    drop table if exists src;
    create table src ${EVENTS};
    insert into src
    select i, '2026-01-01Z'::timestamptz + i * interval '137 ms', hashint4(i) & 1048575, 'user' || (hashint4(i) & 1048575) || '@example.com',
      (array['DE','US','FR','GB','IN','BR','JP','NL'])[1 + (i & 7)], ((hashint4(i + 1) & 1048575) / 100.0)::numeric(12,2), i % 100,
      case when i % 50 = 0 then 'alpha beta, said "ok"' when i % 97 = 0 then null else 'alpha beta gamma' end
    from generate_series(1, ${rows}) i`,
    url,
  );
  await server.query('vacuum analyze src', url);
}

/** Throws if the table does not have so many rows. */
export async function expectRows(
  { server }: Stage,
  table: string,
  rows: number,
  url = server.url,
): Promise<void> {
  const [row] = await server.query(`select count(*)::int as n from ${table}`, url);
  if (row?.['n'] !== rows) throw new Error(`${table} has ${String(row?.['n'])} rows instead of ${rows}`);
}

function formatMillions(rows: number): string {
  return `${rows / MILLION}M`;
}
