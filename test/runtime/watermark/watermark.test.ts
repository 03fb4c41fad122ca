import { expect } from 'chai';
import { Client } from 'pg';
import { dag, type DagBuilder } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn, type RunOptions } from '../../support/run.js';

type Define = (d: DagBuilder<object, undefined>) => void;

describe('a watermark', () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await createDatabase();
    await db.query('create table t (v text)');
  });
  afterEach(() => db.drop());

  const run = (define: Define, options?: RunOptions) =>
    runOn({ db: db.url }, dag('d', { defaults: { conn: 'db' } }, define as never), options);
  const current = () =>
    db.query('select task_id, name, value, run_id from etl.watermark order by task_id, name');
  const history = () => db.query('select name, value, set_by, run_id from etl.watermark_history order by id');

  it('is undefined in the first run, and then has the last committed value', async () => {
    const seen: (string | undefined)[] = [];
    const define: Define = (d) =>
      void d.session('s', {}, async ({ watermark, session }) => {
        const mark = await watermark('orders');
        seen.push(mark.value);
        await session('t').insert({ v: mark.value ?? 'first' });
        mark.set(`${mark.value ?? ''}x`);
      });
    for (const runId of ['one', 'two'])
      expect((await run(define, { runId })).outcome('s')).to.equal('success');
    expect(seen).to.deep.equal([undefined, 'x']);
    expect(await current()).to.deep.equal([{ task_id: 's', name: 'orders', value: 'xx', run_id: 'two' }]);
    expect(await history()).to.deep.equal([
      { name: 'orders', value: 'x', set_by: 'task', run_id: 'one' },
      { name: 'orders', value: 'xx', set_by: 'task', run_id: 'two' },
    ]);
  });

  it('is committed with the data, or not at all', async () => {
    const define =
      (fails: boolean): Define =>
      (d) =>
        void d.session('s', {}, async ({ watermark, session }) => {
          (await watermark('w')).set(fails ? 'failed' : 'done');
          await session('t').insert({ v: 'row' });
          if (fails) throw new Error('no');
        });
    expect((await run(define(true))).outcome('s')).to.equal('failed ETL-3001');
    expect([await current(), await db.query('select from t')]).to.deep.equal([[], []]);
    await run(define(false));
    await run(define(true));
    expect((await current())[0]).to.include({ value: 'done' });
    expect(await history()).to.have.lengthOf(1);
  });

  it('is not committed if a check fails after the task', async () => {
    const { outcome } = await run(
      (d) =>
        void d.session('s', { checks: [{ name: 'none', sql: 'select 1' }] }, async ({ watermark }) =>
          (await watermark('w')).set('v'),
        ),
    );
    expect(outcome('s')).to.equal('failed ETL-3101');
    expect(await current()).to.deep.equal([]);
  });

  it('belongs to one task, and does not change if the task does not set it', async () => {
    const define: Define = (d) => {
      d.session('two', {}, async ({ watermark, run: { id } }) => {
        const [a, b] = [await watermark('a'), await watermark('b')];
        a.set(`${id} a`);
        if (id === 'first') b.set(`${id} b`);
      });
      d.sql('other', {
        sql: async ({ watermark, run: { id } }) => {
          (await watermark('a')).set(`other ${id}`);
          return 'select 1';
        },
      });
      d.session('none', {}, async ({ watermark }) => void (await watermark('a')));
    };
    await run(define, { runId: 'first' });
    await run(define, { runId: 'second' });
    expect(await current()).to.deep.equal([
      { task_id: 'other', name: 'a', value: 'other second', run_id: 'second' },
      { task_id: 'two', name: 'a', value: 'second a', run_id: 'second' },
      { task_id: 'two', name: 'b', value: 'first b', run_id: 'first' },
    ]);
  });

  it('does not count as a row of the task', async () => {
    const { tasks } = await run(
      (d) =>
        void d.session('s', {}, async ({ watermark, session }) => {
          await session('t').insert([{ v: '1' }, { v: '2' }]);
          (await watermark('w')).set('v');
        }),
    );
    expect(tasks[0]?.rows).to.equal(2);
  });

  it('is undefined in a full refresh, also after a resume', async () => {
    const seen: string[] = [];
    let breaks = false;
    const define: Define = (d) => {
      const a = d.session('a', {}, async ({ watermark, run: { fullRefresh } }) => {
        const mark = await watermark('w');
        seen.push(`a ${mark.value} ${fullRefresh}`);
        mark.set('v');
        if (breaks) throw new Error('no');
      });
      d.session('b', { needs: [a] }, async ({ watermark }) => {
        const mark = await watermark('w');
        seen.push(`b ${mark.value}`);
        mark.set('v');
      });
    };
    const runs: string[] = [];
    const runAndSee = async (options: RunOptions) => {
      const { state } = await run(define, options);
      runs.push(seen.splice(0).join(', '));
      return state;
    };
    await runAndSee({});
    breaks = true;
    await runAndSee({ runId: 'r', fullRefresh: ['a'] });
    breaks = false;
    const resume = { kind: 'resume', runId: 'r', interval: undefined, strict: false } as const;
    expect(await runAndSee({ resume })).to.equal('success');
    await runAndSee({ fullRefresh: ['*'] });
    expect(runs).to.deep.equal([
      'a undefined false, b undefined',
      'a undefined true',
      'a undefined true, b v',
      'a undefined true, b undefined',
    ]);
  });

  it('does not change if a resume reuses the task', async () => {
    let breaks = true;
    const define: Define = (d) => {
      const a = d.session('a', {}, async ({ watermark }) => {
        const mark = await watermark('w');
        mark.set(`${mark.value ?? ''}x`);
      });
      d.session('b', { needs: [a] }, async () => {
        if (breaks) throw new Error('no');
      });
    };
    await run(define, { runId: 'r' });
    breaks = false;
    const resume = { kind: 'resume', runId: 'r', interval: undefined, strict: false } as const;
    expect((await run(define, { resume })).state).to.equal('success');
    expect(await history()).to.have.lengthOf(1);
  });

  it('is not overwritten by an attempt that read an older value', async () => {
    const define: Define = (d) =>
      void d.session('s', {}, async ({ watermark, run: { attempt } }) => {
        const mark = await watermark('w');
        if (attempt === 1) {
          const client = new Client({ connectionString: db.url });
          await client.connect();
          await client.query(`update etl.watermark set value = 'theirs'`);
          await client.end();
        }
        mark.set(`${mark.value}, then ours`);
      });
    await run((d) => void d.session('s', {}, async ({ watermark }) => (await watermark('w')).set('mine')));
    const { tasks } = await run(define);
    expect(tasks[0]).to.include({ state: 'success', attempts: 2 });
    expect((await current())[0]).to.include({ value: 'theirs, then ours' });
  });

  const wrong: readonly [what: string, value: unknown, message: RegExp][] = [
    ['a Date', new Date(), /to be SQL text, got a Date/],
    ['a number', 5, /got 5/],
    ['undefined', undefined, /got undefined/],
    ['an empty text', '', /got ""/],
    ['a text with a NUL', 'a\0b', /got/],
  ];
  for (const [what, value, message] of wrong) {
    it(`refuses ${what} as its value`, async () => {
      const { tasks } = await run(
        (d) => void d.session('s', {}, async ({ watermark }) => (await watermark('w')).set(value as string)),
      );
      expect(tasks[0]?.error?.code).to.equal('ETL-3702');
      expect(tasks[0]?.error?.message).to.match(message);
    });
  }

  it('has a type that takes only text', () => {
    dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('s', {}, async ({ watermark }) => {
        const mark = await watermark('w');
        // @ts-expect-error a Date has no microseconds
        mark.set(new Date());
        // @ts-expect-error a JS number can't hold all 64-bit integers
        mark.set(5);
        const value: string | undefined = mark.value;
        return { value: value ?? null };
      });
      // @ts-expect-error a task without a transaction can't commit a watermark
      d.task('t', {}, async ({ watermark }) => void watermark);
    });
  });

  it('does not hide an SQL error that the task swallowed', async () => {
    const { outcome } = await run(
      (d) =>
        void d.session('s', {}, async ({ watermark, session }) => {
          (await watermark('w')).set('v');
          await session.raw('select 1/0').catch(() => undefined);
        }),
    );
    expect(outcome('s')).to.equal('failed ETL-3203');
  });
});
