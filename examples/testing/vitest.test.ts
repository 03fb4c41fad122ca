import { withTestDatabase } from '@oneshot/etl/testing';
import { expect, test } from 'vitest';
import { monthly, ORDERS, TABLES } from './monthly.js';

test('the report counts the large orders of February and of March', async () => {
  await withTestDatabase(
    async (db) => {
      await db.insert('orders', ORDERS);
      await db.run(monthly, { now: new Date('2026-03-05') });
      await db.run(monthly, { now: new Date('2026-04-05') });
      expect(await db.query('select * from report')).toEqual([{ orders: 1 }, { orders: 2 }]);
    },
    { sql: TABLES },
  );
});
