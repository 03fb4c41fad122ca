import { dag, defineConfig } from '@oneshot/etl';
import { Model } from 'objection';

const { DATABASE_URL, OTHER_URL, BENCH_FROM = 'from.csv', BENCH_TO = 'to.csv' } = process.env;

class Item extends Model {
  static override tableName = 'item';
}

const defaults = { conn: 'bench' };

export default defineConfig({
  connections: { bench: DATABASE_URL, other: OTHER_URL },
  dags: [
    dag('one', { defaults }, (d) => {
      d.session('select', {}, async ({ session }) => Item.query(session).resultSize());
    }),
    dag('chain', { defaults }, (d) => {
      let before: ReturnType<typeof d.sql>[] = [];
      for (let i = 0; i < 400; i++)
        before = [d.sql(`t${i}`, { needs: before, sql: "insert into chained values ('x')" })];
    }),
    dag('load', { defaults }, (d) => {
      d.load('events', { from: BENCH_FROM, into: 'ev', mode: 'append' });
    }),
    dag('load-transformed', { defaults }, (d) => {
      d.load('events', { from: BENCH_FROM, into: 'ev', mode: 'append', transform: transformRow });
    }),
    dag('unload', { defaults }, (d) => {
      d.unload('events', { table: 'src', to: BENCH_TO });
    }),
    dag('transfer', { defaults: { conn: 'other' } }, (d) => {
      d.transfer('events', { from: 'bench', table: 'src', into: 'dst', mode: 'replace' });
    }),
    dag('merge', { defaults }, (d) => {
      d.load('events', { from: BENCH_FROM, into: 'evpk', mode: 'merge', key: ['id'] });
    }),
    dag('rows', { defaults }, (d) => {
      d.session('sum', {}, async ({ session }) => {
        let sum = 0;
        for await (const row of session.rows<{ quantity: number }>('select * from src')) sum += row.quantity;
        return sum;
      });
    }),
  ],
});

/** Drops rows, changes one value and passes the others, as a usual transform does. */
function transformRow(row: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  if (row['country'] === 'XX') return undefined;
  return { ...row, email: String(row['email']).toLowerCase() };
}
