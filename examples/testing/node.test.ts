import { deepEqual, equal } from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openTestDatabase, type TestDatabase } from '@oneshot/etl/testing';
import { monthly, ORDERS, TABLES } from './monthly.js';

let db: TestDatabase;
before(async () => (db = await openTestDatabase({ sql: TABLES })));
after(() => db.close());

void test('the report counts the large orders of February', async () => {
  await db.insert('orders', ORDERS);
  const { state, results } = await db.run(monthly, { now: new Date('2026-03-05') });
  equal(state, 'success');
  equal(results.big?.orders, 1);
  deepEqual(await db.query('select * from report'), [{ orders: 1 }]);
});
