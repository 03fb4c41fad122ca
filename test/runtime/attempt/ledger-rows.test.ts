import { expect } from 'chai';
import pg from 'pg';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { DataInterval } from '../../../src/runtime/interval/interval.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { frozenProxy } from '../../support/frozen-proxy.js';
import { runOn } from '../../support/run.js';
import { startOn } from './attempt-project.js';

const TIMESTAMPTZ = 1184;

describe('the ledger', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id int)');
  });
  after(() => db.drop());

  const resume = { kind: 'resume', runId: undefined, interval: undefined, strict: false } as const;

  for (const { whatever, change } of [
    {
      whatever: 'DateStyle the database has',
      change: async () => {
        await db.query(`alter database ${db.name} set datestyle = 'German'`);
        return () => db.query(`alter database ${db.name} reset datestyle`);
      },
    },
    {
      whatever: 'parser of timestamps the program has set',
      change: async () => {
        const parse = pg.types.getTypeParser(TIMESTAMPTZ) as (text: string) => unknown;
        pg.types.setTypeParser(TIMESTAMPTZ, (text) => text);
        return async () => pg.types.setTypeParser(TIMESTAMPTZ, parse);
      },
    },
  ]) {
    it(`gives a resumed run its interval, whatever ${whatever}`, async () => {
      const start = new Date('2026-03-01T00:00:00Z');
      const interval = { start, end: new Date('2026-03-02T00:00:00Z'), logicalDate: start };
      const seen: (DataInterval | undefined)[] = [];
      const graph = dag('intervals', { schedule: '@daily', defaults: { conn: 'db' } }, (d) => {
        d.session('w', {}, async (context) => {
          seen.push(context.interval);
          if (seen.length === 1) throw new Error('not yet');
        });
      });
      const fresh = { kind: 'new', runId: `of ${whatever}`, interval, params: {} } as const;
      const restore = await change();
      try {
        await startOn({ db: db.url }, graph, { start: fresh });
        const again = await startOn({ db: db.url }, graph, { start: { ...resume, runId: fresh.runId } });
        expect(again.state).to.equal('success');
      } finally {
        await restore();
      }
      expect(seen).to.deep.equal([interval, interval]);
    });
  }

  it('records the end of a run whose second database is unreachable, and confirms the other tasks', async () => {
    await using other = await createDatabase();
    await using proxy = await frozenProxy((await cluster()).port);
    const graph = dag('two', { defaults: { conn: 'db' } }, (d) => {
      const here = d.session('here', {}, async ({ session }) => void (await session('t').insert({ id: 6 })));
      d.session('there', { conn: 'other', needs: [here] }, async ({ session }) => {
        proxy.refuse();
        proxy.cut();
        await session.raw('select 1');
      });
    });
    const run = await runOn({ db: db.url, other: proxy.url(other.url) }, graph);
    expect(run.outcome('there')).to.equal('failed ETL-1002');
    expect(run.tasks[0]).to.include({ taskId: 'here', state: 'success', rows: 1 });
    expect(run.errors.map(({ code }) => code)).to.deep.equal(['ETL-4002']);
    const [row] = await db.query(
      `select state, finished_at is not null as "isClosed",
              (select array_agg(task_id) from etl.attempt where run_id = $1) as failed
       from etl.run where run_id = $1`,
      [run.runId],
    );
    expect(row).to.deep.equal({ state: 'failed', isClosed: true, failed: ['there'] });
  });

  it('returns the result null of a reused task as null', async () => {
    const seen: unknown[] = [];
    const graph = dag('nulls', { defaults: { conn: 'db' } }, (d) => {
      const nothing = d.session('nothing', {}, async () => null);
      d.session('reader', { needs: { nothing } }, async ({ upstream }) => {
        seen.push(upstream.nothing);
        if (seen.length === 1) throw new Error('not yet');
      });
    });
    await runOn({ db: db.url }, graph);
    const again = await runOn({ db: db.url }, graph, { resume });
    expect(again.tasks.map(({ reused }) => reused)).to.deep.equal([true, false]);
    expect(seen).to.deep.equal([null, null]);
  });

  it('does not count rows that were rolled back to a savepoint', async () => {
    const graph = dag('rows', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', {}, async ({ session }) => {
        await session('t').insert([{ id: 1 }, { id: 2 }]);
        const undone = session.transaction(async (part) => {
          await part('t').insert([{ id: 3 }, { id: 4 }, { id: 5 }]);
          throw new Error('undo');
        });
        await undone.catch(() => undefined);
        await session.transaction(async (part) => part('t').insert({ id: 6 }));
      });
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.tasks[0]?.rows).to.equal(3);
    const [row] = await db.query('select rows::int from etl.task where run_id = $1', [run.runId]);
    expect(row).to.deep.equal({ rows: 3 });
  });

  it('does not count rows of an outer savepoint that is rolled back after an inner savepoint', async () => {
    const graph = dag('rows', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', {}, async ({ session }) => {
        await session('t').insert({ id: 1 });
        const outer = session.transaction(async (part) => {
          await part('t').insert([{ id: 2 }, { id: 3 }]);
          const inner = part.transaction(async (least) => {
            await least('t').insert({ id: 4 });
            throw new Error('undo the inner one');
          });
          await inner.catch(() => undefined);
          throw new Error('undo the outer one');
        });
        await outer.catch(() => undefined);
      });
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.tasks[0]?.rows).to.equal(1);
  });

  it('records the runs of a Dag whose tasks have no connection on the connection of its defaults', async () => {
    const graph = dag('plain', { defaults: { conn: 'db' } }, (d) => {
      d.task('http', {}, async () => 200);
    });
    const { runId } = await runOn({ db: db.url }, graph);
    const rows = await db.query(
      `select r.state as run, t.state as task, t.result
       from etl.run r join etl.task t using (run_id) where run_id = $1`,
      [runId],
    );
    expect(rows).to.deep.equal([{ run: 'success', task: 'success', result: 200 }]);
  });
});
