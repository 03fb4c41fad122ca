import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Benchmark, Row, Stage } from './benchmark.js';
import { etlRun, program, psql } from './etl.js';
import { EVENTS, writeEvents } from './events.js';
import { compare, type Variant } from './measure.js';
import { ratioRow, type Bar } from './row.js';

const MILLION = 1_000_000;
/** Of pass-through, and of a transform in JavaScript, in MiB. */
const PASS_MB = 100;
const TRANSFORM_MB = 210;

/** A size, and what its ratios may be: at a million rows, the start is a large part of an unload and a transfer. */
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

/** Files into tables. */
export const LOAD: Benchmark = {
  name: 'load',
  run: async (stage) => {
    if (!stage.hasPsql) return [];
    const { server } = stage;
    await server.query(`create table ev ${EVENTS}`);
    const rows: Row[] = [];
    for (const size of sizesOf(stage)) {
      const file = join(stage.folder, `events-${size.rows}.csv`);
      stage.say(`load ${nameOf(size.rows)} rows`);
      await writeEvents(file, size.rows);
      const round = {
        before: () => server.query('truncate ev; checkpoint'),
        after: () => expectRows(stage, 'ev', size.rows),
      };
      const env = { BENCH_FROM: file };
      const [base, plain, transformed] = await compare(
        [
          { ...psql('psql \\copy', server.url, [`\\copy ev from '${file}' csv header`]), ...round },
          etlRun(stage, 'load', { ...round, env }),
          { ...etlRun(stage, 'load-transformed', { ...round, env }), name: 'transformed' },
        ],
        size.rounds,
      );
      if (!base || !plain || !transformed) continue;
      const name = nameOf(size.rows);
      rows.push(
        ratioRow({ work: `load CSV, ${name} rows`, atMost: size.load, peakMb: PASS_MB }, base, plain),
        ratioRow(
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

/** A table into a file. */
export const UNLOAD: Benchmark = {
  name: 'unload',
  run: async (stage) => {
    if (!stage.hasPsql) return [];
    return eachSize(stage, async (size) => {
      const [theirs, ours] = [join(stage.folder, 'psql.csv'), join(stage.folder, 'etl.csv')];
      const bar = { work: `unload CSV, ${nameOf(size.rows)} rows`, atMost: size.unload, peakMb: PASS_MB };
      const after = (file: string) => async (): Promise<void> => {
        if ((await stat(file)).size < size.rows * 50) throw new Error(`${file} is too short`);
        await rm(file);
      };
      return [
        bar,
        {
          ...psql('psql \\copy', stage.server.url, [`\\copy src to '${theirs}' csv header`]),
          after: after(theirs),
        },
        etlRun(stage, 'unload', { env: { BENCH_TO: ours }, after: after(ours) }),
      ];
    });
  },
};

/** From one database into another. */
export const TRANSFER: Benchmark = {
  name: 'transfer',
  run: async (stage) => {
    const { server, hasPsql } = stage;
    if (!hasPsql) return [];
    await server.query(`create table dst ${EVENTS}`, server.otherUrl);
    return eachSize(stage, async (size) => {
      const bar = { work: `transfer ${nameOf(size.rows)} rows`, atMost: size.transfer, peakMb: PASS_MB };
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
        bar,
        { name: 'psql to psql, binary', argv: ['bash', '-c', pipe], env, ...round },
        etlRun(stage, 'transfer', round),
      ];
    });
  },
};

/** Rows as JavaScript objects. */
export const ROWS: Benchmark = {
  name: 'rows',
  run: (stage) =>
    eachSize(
      stage,
      async (size) => [
        { work: `${nameOf(size.rows)} typed rows in JavaScript`, atMost: 0.65 },
        { ...program(stage, 'cursor'), name: 'pg-cursor, batches of 1,000' },
        etlRun(stage, 'rows'),
      ],
      [stage.isShort ? SHORT : ONE],
    ),
};

type Comparison = readonly [bar: Bar, reference: Variant, ours: Variant];

async function eachSize(
  stage: Stage,
  comparisonOf: (size: Size) => Promise<Comparison>,
  sizes: readonly Size[] = sizesOf(stage),
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const size of sizes) {
    await fillSource(stage, size.rows);
    const [bar, reference, ours] = await comparisonOf(size);
    stage.say(bar.work);
    const [theirs, own] = await compare([reference, ours], size.rounds);
    if (theirs && own) rows.push(ratioRow(bar, theirs, own));
  }
  return rows;
}

function sizesOf({ isShort }: Stage): readonly Size[] {
  return isShort ? [SHORT] : [ONE, FIVE];
}

/** The table `src` with so many rows: those of the file for the load, made by the server. */
async function fillSource({ server }: Stage, rows: number): Promise<void> {
  await server.query(`
    drop table if exists src;
    create table src ${EVENTS};
    insert into src
    select i, '2026-01-01Z'::timestamptz + i * interval '137 ms', hashint4(i) & 1048575, 'user' || (hashint4(i) & 1048575) || '@example.com',
      (array['DE','US','FR','GB','IN','BR','JP','NL'])[1 + (i & 7)], ((hashint4(i + 1) & 1048575) / 100.0)::numeric(12,2), i % 100,
      case when i % 50 = 0 then 'alpha beta, said "ok"' when i % 97 = 0 then null else 'alpha beta gamma' end
    from generate_series(1, ${rows}) i`);
  await server.query('vacuum analyze src');
}

async function expectRows({ server }: Stage, table: string, rows: number, url = server.url): Promise<void> {
  const [row] = await server.query(`select count(*)::int as n from ${table}`, url);
  if (row?.['n'] !== rows) throw new Error(`${table} has ${String(row?.['n'])} rows instead of ${rows}`);
}

function nameOf(rows: number): string {
  return `${rows / MILLION}M`;
}
