import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Client } from 'pg';
import { to } from 'pg-copy-streams';
import type { Benchmark, Row, Stage } from './benchmark.js';
import { createEtlRun, createProgram } from './etl.js';
import { EVENTS } from './events.js';
import { compare } from './measure.js';
import { createRatioRow } from './row.js';

interface Case {
  readonly name: string;
  readonly atMost: number;
  /** The query that makes the incoming rows from the rows of `base`. */
  readonly incoming: string;
  /** The number of rows after the merge, divided by the number of rows before. */
  readonly growth: number;
}

const COLUMNS = 'ts, user_id, email, country';
const CASES: readonly Case[] = [
  {
    name: 'half new',
    atMost: 0.35,
    incoming: `select id + {half} as id, ${COLUMNS}, amount + 1 as amount, quantity, note from base`,
    growth: 1.5,
  },
  {
    name: '1 % changed',
    atMost: 0.2,
    incoming: `select id, ${COLUMNS}, case when id % 100 = 0 then amount + 1 else amount end as amount, quantity, note from base`,
    growth: 1,
  },
];

/** Merges a file into a table with the same number of rows. The reference is the code that a Knex user writes. */
export const MERGE: Benchmark = {
  name: 'merge',
  run: async (stage) => {
    const rows = stage.isShort ? 200_000 : 1_000_000;
    await prepare(stage, rows);
    const table: Row[] = [];
    for (const each of CASES) table.push(...(await merge(stage, each, rows)));
    return table;
  },
};

async function prepare({ server }: Stage, rows: number): Promise<void> {
  await server.query(`create table base ${EVENTS}`);
  await server.query(`
    insert into base
    select i, '2026-01-01Z'::timestamptz + i * interval '137 ms', hashint4(i) & 1048575, 'user' || i || '@example.com',
      'DE', (i % 100000 / 100.0)::numeric(12,2), i % 100, case when i % 97 = 0 then null else 'alpha beta gamma' end
    from generate_series(1, ${rows}) i`);
}

async function merge(
  stage: Stage,
  { name, atMost, incoming, growth }: Case,
  rows: number,
): Promise<readonly Row[]> {
  const { server } = stage;
  const work = `merge ${rows / 1_000_000}M into ${rows / 1_000_000}M, ${name}`;
  stage.say(work);
  const file = join(stage.folder, 'incoming.csv');
  await server.query('drop table if exists incoming');
  await server.query(`create table incoming as ${incoming.replace('{half}', String(rows / 2))}`);
  await writeTable(stage, file);
  const round = {
    before: async (): Promise<void> => {
      await server.query(
        `drop table if exists evpk; create table evpk ${EVENTS}; insert into evpk select * from base`,
      );
      await server.query('alter table evpk add primary key (id)');
      await server.query('vacuum analyze evpk');
      await server.query('checkpoint');
    },
    after: async (): Promise<void> => {
      const [row] = await server.query(
        'select (select count(*) from evpk)::int as n, (select count(*) from incoming join evpk using (id, amount))::int as same',
      );
      if (row?.['n'] !== rows * growth || row['same'] !== rows)
        throw new Error(`merged wrongly: ${JSON.stringify(row)}`);
    },
  };
  const [theirs, ours] = await compare(
    [
      { ...createProgram(stage, 'knex-merge', [file]), name: 'knex insert().onConflict().merge()', ...round },
      createEtlRun(stage, 'merge', { ...round, env: { BENCH_FROM: file } }),
    ],
    stage.isShort ? 3 : 5,
  );
  return theirs && ours ? [createRatioRow({ work, atMost }, theirs, ours)] : [];
}

async function writeTable({ server }: Stage, file: string): Promise<void> {
  const client = new Client(server.url);
  await client.connect();
  try {
    const rows = client.query(to('copy incoming to stdout (format csv, header true)'));
    await pipeline(rows, createWriteStream(file));
  } finally {
    await client.end();
  }
}
