import { expect } from 'chai';
import { dag } from '../../../../src/runtime/dag/dag.js';
import { createDatabase } from '../../../support/database.js';
import { runOn } from '../../../support/run.js';

/** Yields a row and then bytes, which is wrong. Its clean-up never ends. */
async function* hangAtEnd() {
  try {
    yield { id: 1 };
    yield 'bytes' as never;
  } finally {
    await new Promise(() => undefined);
  }
}

describe('a source of rows whose clean-up never ends', () => {
  it('does not keep a load that fails from ending, and the load reports its own error', async () => {
    await using db = await createDatabase({ mayLeak: true });
    await db.query('create table t (id int)');
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.load('l', { from: () => hangAtEnd(), into: 't', mode: 'append' });
    });
    expect((await runOn({ db: db.url }, graph)).outcome('l')).to.equal('failed ETL-3560');
  });
});
