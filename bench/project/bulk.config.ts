import { createReadStream } from 'node:fs';
import { dag, defineConfig } from '@oneshot/etl';

const {
  DATABASE_URL,
  OTHER_URL,
  BENCH_FROM = 'from.csv',
  BENCH_TO = 'to.csv',
  BENCH_INTO = 'ev',
} = process.env;
const ROWS = Number(process.env['BENCH_ROWS']);
/** Empty in the cases that do not load it: each case loads this file. */
const ARRAY = process.env['BENCH_ARRAY'] === undefined ? [] : [...generateRows()];

const defaults = { conn: 'bench' };
const load = { from: BENCH_FROM, into: BENCH_INTO, mode: 'append' } as const;

export default defineConfig({
  connections: { bench: DATABASE_URL, other: OTHER_URL },
  dags: [
    dag('load', { defaults }, (d) => d.load('t', load)),
    dag('transform', { defaults }, (d) => d.load('t', { ...load, transform: transformRow })),
    dag('rejects', { defaults }, (d) => d.load('t', { ...load, rejects: { max: 10, to: 'rejected' } })),
    dag('create', { defaults }, (d) => d.load('t', { ...load, create: true })),
    dag('evolve', { defaults }, (d) => d.load('t', { ...load, schema: 'evolve' })),
    dag('discard', { defaults }, (d) => d.load('t', { ...load, schema: 'discard' })),
    dag('merge', { defaults }, (d) => d.load('t', { ...load, mode: 'merge', key: ['id'] })),
    dag('nested', { defaults }, (d) => d.load('t', load)),
    dag('nested-transform', { defaults }, (d) =>
      d.load('t', { ...load, transform: (row) => ({ ...row, id: Number(row['id']) + 1 }) }),
    ),
    dag('generator', { defaults }, (d) => d.load('t', { ...load, from: () => generateLater() })),
    dag('generator-create', { defaults }, (d) =>
      d.load('t', { ...load, from: () => generateLater(), create: true }),
    ),
    dag('array', { defaults }, (d) => d.load('t', { ...load, from: ARRAY })),
    dag('unload', { defaults }, (d) => d.unload('t', { table: 'src', to: BENCH_TO })),
    dag('transfer', { defaults }, (d) =>
      d.transfer('t', { from: 'other', table: 'src', into: BENCH_INTO, mode: 'append' }),
    ),
    dag('session-rows', { defaults }, (d) =>
      d.session('t', {}, async ({ session }) => {
        let sum = 0;
        for await (const row of session.rows<{ quantity: number }>('select * from src')) sum += row.quantity;
        return sum;
      }),
    ),
    dag('copy-from', { defaults }, (d) =>
      d.session('t', {}, async ({ session }) => {
        await session.copyFrom(`copy ev from stdin (format csv, header true)`, createReadStream(BENCH_FROM));
      }),
    ),
  ],
});

/** Drops rows, changes one value and passes the others, as a usual transform does. */
function transformRow(row: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  if (row['country'] === 'XX') return undefined;
  return { ...row, email: String(row['email']).toLowerCase() };
}

function* generateRows(): Generator<Record<string, unknown>> {
  for (let id = 1; id <= ROWS; id++) {
    const ts = new Date(Date.UTC(2026, 0, 1) + id * 137);
    const email = `user${id}@example.com`;
    yield {
      id,
      ts,
      user_id: id % 4093,
      email,
      country: 'DE',
      amount: id / 100,
      quantity: id % 100,
      note: null,
    };
  }
}

// oxlint-disable-next-line require-await -- as the pages of an API would come
async function* generateLater(): AsyncGenerator<Record<string, unknown>> {
  yield* generateRows();
}
