import { dag } from '@oneshot/etl';

/** Counts the large orders of a month and reports the number. */
export const monthly = dag('monthly', { schedule: '0 2 1 * *', defaults: { conn: 'shop' } }, (d) => {
  const big = d.session('count-big', {}, async ({ session, interval }) => {
    const rows = await session('orders').where('total', '>', 100).where('ordered_at', '<', interval.end);
    return { orders: rows.length };
  });
  d.sql('report', {
    needs: { big },
    sql: ({ upstream }) => ({ text: 'insert into report values ($1)', values: [upstream.big.orders] }),
    checks: [{ name: 'not-empty', sql: 'select from report where orders = 0' }],
  });
  return { big };
});

/** The tables that the Dag works with. */
export const TABLES = `
  create table orders (id int primary key, total int, ordered_at timestamptz);
  create table report (orders int)`;

/** Orders of February 2026 and of March 2026. */
export const ORDERS = [
  { id: 1, total: 50, ordered_at: '2026-02-03T10:00:00Z' },
  { id: 2, total: 150, ordered_at: '2026-02-04T10:00:00Z' },
  { id: 3, total: 250, ordered_at: '2026-03-02T10:00:00Z' },
];
