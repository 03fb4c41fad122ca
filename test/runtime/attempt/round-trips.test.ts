import { expect } from 'chai';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import { dag, type Dag } from '../../../src/runtime/dag/dag.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';
import { turnProxy } from '../../support/turn-proxy.js';

const OPTIONS = { defaults: { conn: 'db' } } as const;

/**
 * Tasks and their expected round trips. For comparison: `knex.transaction` needs one round trip for each statement,
 * and two for BEGIN and COMMIT.
 */
const TASKS: readonly { readonly title: string; readonly turns: number; readonly graph: Dag }[] = [
  {
    title: 'without a query',
    turns: 2,
    graph: dag('d', OPTIONS, (d) => void d.session('a', {}, async () => 1)),
  },
  {
    title: 'with a query of the builder',
    turns: 2,
    graph: dag(
      'd',
      OPTIONS,
      (d) => void d.session('a', {}, async ({ session }) => void (await session('t').insert({ v: 'x' }))),
    ),
  },
  {
    title: 'with a raw query without values',
    turns: 2,
    graph: dag(
      'd',
      OPTIONS,
      (d) => void d.session('a', {}, async ({ session }) => void (await session.raw('select 1'))),
    ),
  },
  {
    title: 'with three queries',
    turns: 4,
    graph: dag(
      'd',
      OPTIONS,
      (d) =>
        void d.session('a', {}, async ({ session }) => {
          for (const v of ['x', 'y', 'z']) await session('t').insert({ v });
        }),
    ),
  },
  {
    title: 'with a query that follows a query on another connection',
    turns: 3,
    graph: dag(
      'd',
      OPTIONS,
      (d) =>
        void d.session('a', { reads: ['db'] }, async ({ session, sources: { db } }) => {
          await db.raw('select 1');
          await session('t').insert({ v: 'x' });
        }),
    ),
  },
  {
    title: 'with one SQL statement',
    turns: 2,
    graph: dag('d', OPTIONS, (d) => void d.sql('a', { sql: `insert into t values ('x')` })),
  },
  {
    title: 'with two SQL statements in one text',
    turns: 2,
    graph: dag(
      'd',
      OPTIONS,
      (d) => void d.sql('a', { sql: `insert into t values ('x'); insert into t values ('y')` }),
    ),
  },
  {
    title: 'with a COPY, which follows the answer to the claim,',
    turns: 4,
    graph: dag(
      'd',
      OPTIONS,
      (d) =>
        void d.session('a', {}, async ({ session }) => {
          const connection = (await session.client.acquireConnection()) as {
            query(stream: object): NodeJS.WritableStream;
          };
          await pipeline(Readable.from(['a\n']), connection.query(copyFrom('copy t (v) from stdin')));
        }),
    ),
  },
];

describe('a task', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (v text)');
  });
  after(() => db.drop());
  // The proxy ends the connections of a run before the server has released the lock of the Dag.
  afterEach(async () => expect(await db.leftSessions()).to.deep.equal([]));

  for (const { title, turns, graph } of TASKS) {
    it(`${title} needs ${turns} round trips, including its ledger row`, async () => {
      await using proxy = await turnProxy((await cluster()).port);
      const run = await runOn({ db: proxy.url(db.url) }, graph);
      expect(run.outcome('a')).to.equal('success');
      expect(proxy.turns).to.deep.equal([turns]);
    });
  }

  it('that may have been done before needs one more round trip, because its body waits for the claim', async () => {
    await using proxy = await turnProxy((await cluster()).port);
    let attempts = 0;
    const graph = dag('d', { defaults: { conn: 'db', retries: 1, backoff: { initial: 1 } } }, (d) => {
      d.session('a', {}, async ({ session }) => {
        if (++attempts === 1) throw new Error('not yet');
        await session('t').insert({ v: 'x' });
      });
    });
    await runOn({ db: proxy.url(db.url) }, graph);
    expect(proxy.turns).to.deep.equal([3]);
  });
});
