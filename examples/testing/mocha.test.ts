import { expect } from 'chai';
import { openTestDatabase, type TestDatabase } from '@oneshot/etl/testing';
import { monthly, TABLES } from './monthly.js';

describe('the task "report"', () => {
  let db: TestDatabase;
  before(async () => (db = await openTestDatabase({ sql: TABLES })));
  after(() => db.close());

  it('writes the number that its upstream task returns', async () => {
    const task = await db.runTask(monthly, 'report', {
      upstream: { big: { orders: 7 } },
      rollback: true,
      inspect: async ({ query }) => {
        expect(await query('select * from report')).to.deep.equal([{ orders: 7 }]);
      },
    });
    expect(task.state).to.equal('success');
  });

  it('fails if there are no large orders, and writes nothing', async () => {
    const task = await db.runTask(monthly, 'report', { upstream: { big: { orders: 0 } } });
    expect(task.error?.message).to.match(/not-empty/);
    expect(await db.query('select * from report')).to.deep.equal([]);
  });
});
