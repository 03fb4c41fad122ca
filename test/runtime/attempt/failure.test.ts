import { expect } from 'chai';
import { setImmediate as turn } from 'node:timers/promises';
import { EtlError } from '../../../src/errors.js';
import { guardProcess, type Guard } from '../../../src/commands/run/guard.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import { SkipTask } from '../../../src/runtime/attempt/outcome.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { frozenProxy } from '../../support/frozen-proxy.js';
import { runOn } from '../../support/run.js';
import { latch } from './attempt-project.js';

describe('the outcome of a failure:', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id int)');
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate t'));

  const skipping = async (work: PromiseLike<unknown>): Promise<never> => {
    await Promise.resolve(work).catch(() => undefined);
    throw new SkipTask('nothing to do');
  };
  const ids = async () => (await db.query<{ id: number }>('select id from t')).map(({ id }) => id);

  for (const { title, sql, options, outcome, rows } of [
    {
      title: 'a task that has run out of time is not skipped',
      sql: 'select pg_sleep(30)',
      options: { timeout: '300ms' },
      outcome: 'failed ETL-3301',
      rows: [],
    },
    {
      title: 'a task that has tried to write outside of its transaction is not skipped',
      sql: 'rollback; insert into t values (13)',
      options: {},
      outcome: 'failed ETL-3202',
      rows: [],
    },
  ]) {
    it(title, async () => {
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.session('w', options, async ({ session }) => skipping(session.raw(sql)));
      });
      const run = await runOn({ db: db.url }, graph);
      expect(run.outcome('w')).to.equal(outcome);
      expect(run.state).to.equal('failed');
      expect(await ids()).to.deep.equal(rows);
    });
  }

  for (const { title, first, outcome, attempts } of [
    {
      title: 'a swallowed error is reported as the cause of a later failure',
      first: 'select 1/0',
      outcome: 'failed ETL-3203',
      attempts: 1,
    },
    {
      title: 'a serialization failure that the task swallows before another query is retried',
      first: `do $$ begin raise sqlstate '40001'; end $$`,
      outcome: 'success',
      attempts: 2,
    },
  ]) {
    it(title, async () => {
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.session('w', {}, async ({ session, run: { attempt } }) => {
          if (attempt === 1) await session.raw(first).then(null, () => undefined);
          await session('t').insert({ id: 1 });
        });
      });
      const run = await runOn({ db: db.url }, graph);
      expect(run.outcome('w')).to.equal(outcome);
      expect(run.tasks[0]?.attempts).to.equal(attempts);
    });
  }

  for (const { title, sql } of [
    { title: 'the first', sql: [] },
    { title: 'a later', sql: ['select 1'] },
  ]) {
    it(`${title} statement of a task is not retried if it has too few values`, async () => {
      let attempts = 0;
      const graph = dag('d', { defaults: { conn: 'db', retries: 2, backoff: { initial: 1 } } }, (d) => {
        d.sql('w', {
          sql: () => {
            attempts++;
            return [...sql, { text: 'select $1::int, $2::int', values: [1] }];
          },
        });
      });
      const run = await runOn({ db: db.url }, graph);
      expect(run.outcome('w')).to.equal('failed ETL-3001');
      expect(attempts).to.equal(1);
    });
  }

  it('a late query of a failed attempt does not fail the next attempt', async () => {
    const next = latch();
    let late: Promise<unknown> = Promise.resolve();
    const graph = dag('d', { defaults: { conn: 'db', retries: 1, backoff: { initial: 1 } } }, (d) => {
      d.session('w', {}, async ({ session, run: { attempt } }) => {
        if (attempt === 1) {
          late = next.opened.then(() => session('t').insert({ id: 1 }));
          await Promise.all([Promise.reject(new Error('first')), late]);
        }
        next.open();
        const refusal: unknown = await late.catch((error: unknown) => error);
        expect(refusal).to.include({ code: 'ETL-3206' });
        await session('t').insert({ id: 2 });
      });
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.tasks[0]).to.include({ state: 'success', attempts: 2 });
    expect(run.errors).to.deep.equal([]);
    expect(run.state).to.equal('success');
    expect(await ids()).to.deep.equal([2]);
  });

  it('the error of a task without a connection does not say that the task wrote nothing', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.task('http', {}, async () => {
        throw new Error('500');
      });
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.outcome('http')).to.equal('failed ETL-3001');
    expect(run.tasks[0]?.error?.data)
      .to.match(/^"http" is not recorded/)
      .and.not.include('wrote nothing');
  });

  it('a serialization failure that the task swallows as its last query is retried', async () => {
    await db.query('insert into t values (0)');
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', {}, async ({ session, run: { attempt } }) => {
        const { rows } = await session.raw<{ rows: { id: number }[] }>('select id from t');
        if (attempt === 1) await db.query('update t set id = 10');
        const id = (rows[0]?.id ?? 0) + 1;
        await Promise.resolve(session('t').update({ id })).catch(() => undefined);
      });
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.tasks[0]).to.include({ state: 'success', attempts: 2 });
    expect(await ids()).to.deep.equal([11]);
  });

  it('a check with wrong SQL fails with the message of the server, the name of the check and a caret in its SQL', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      const checks = [{ name: 'no-such', sql: 'select nope from t -- a comment' }];
      d.session('w', { checks }, async ({ session }) => void (await session('t').insert({ id: 1 })));
    });
    const run = await runOn({ db: db.url }, graph);
    const error = run.tasks[0]?.error;
    expect(error).to.include({ code: 'ETL-3001', message: 'column "nope" does not exist' });
    expect(error?.why).to.equal('SQLSTATE 42703, undefined column');
    expect(error?.where).to.match(
      /^task defined at [^\n]+\ncheck "no-such"\nselect nope from t -- a comment\n {7}\^$/,
    );
    expect(await ids()).to.deep.equal([]);
  });

  it('a second database that can not be opened at first is opened by the next attempt', async () => {
    await using other = await createDatabase();
    await using proxy = await frozenProxy((await cluster()).port);
    proxy.refuse();
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      const options = { conn: 'other', retries: 1, backoff: { initial: 1 } };
      d.session('w', options, async ({ session }) => void (await session.raw('select 1')));
    });
    const run = await runOn({ db: db.url, other: proxy.url(other.url) }, graph, {
      onEvent: ({ type }) => type === 'task_retrying' && proxy.restore(),
    });
    expect(run.tasks[0]).to.include({ state: 'success', attempts: 2 });
    expect(run.state).to.equal('success');
  });

  it('a role that may not create the ledger gets an error that says how to create it', async () => {
    await using other = await createDatabase();
    const role = `poor_${other.name}`;
    await db.query(`create role ${role} login password 'poor'`);
    try {
      const url = Object.assign(new URL(other.url), { username: role, password: 'poor' });
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('a', { sql: 'select 1' }));
      const error: unknown = await runOn({ db: url.href }, graph).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(EtlError).and.include({ code: 'ETL-4006', data: 'nothing was started' });
      expect((error as EtlError).why).to.equal('SQLSTATE 42501, insufficient privilege');
      expect((error as EtlError).fix).to.include('etl ledger sql');
    } finally {
      await db.query(`drop role ${role}`);
    }
  });

  it('an error in a timer during the COMMIT of a task fails the run, and the task stays done', async () => {
    await using proxy = await frozenProxy((await cluster()).port);
    const committing = latch();
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', {}, async ({ session }) => {
        await session('t').insert({ id: 1 });
        proxy.meetCommit((client, answer) => {
          process.once('uncaughtException', () => client.write(answer));
          committing.open();
        });
        void committing.opened.then(() =>
          setImmediate(() => {
            throw new Error('boom in a timer');
          }),
        );
      });
    });
    await guarded(async ({ unhandledErrors }) => {
      const run = await runOn({ db: proxy.url(db.url) }, graph, { unhandledErrors: () => unhandledErrors });
      expect(run.outcome('w')).to.equal('success');
      expect(run.errors.map(({ code, where }) => [code, where])).to.deep.equal([
        ['ETL-3006', 'started by task "w"'],
      ]);
      expect(run.errors[0]?.message).to.include('boom in a timer');
      expect(run.state).to.equal('failed');
    });
    expect(await ids()).to.deep.equal([1]);
  });

  it('forty tasks at once print no warning of Node', async () => {
    const TASKS = 40;
    const all = latch();
    let arrived = 0;
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      for (let i = 0; i < TASKS; i++) {
        d.session(`w${i}`, {}, async () => {
          if (++arrived === TASKS) all.open();
          await all.opened;
        });
      }
    });
    const warnings: string[] = [];
    const onWarning = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', onWarning);
    const run = await runOn({ db: db.url }, graph, { concurrency: TASKS });
    await turn();
    process.removeListener('warning', onWarning);
    expect(run.state).to.equal('success');
    expect(warnings).to.deep.equal([]);
  });
});

/**
 * Runs `work` under the process guard of a real run. Removes mocha's listeners, which would report an error of the
 * task as an error of the test.
 */
async function guarded(work: (guard: Guard) => Promise<void>): Promise<void> {
  const onException = process.listeners('uncaughtException');
  const onRejection = process.listeners('unhandledRejection');
  process.removeAllListeners('uncaughtException').removeAllListeners('unhandledRejection');
  const guard = guardProcess();
  try {
    await work(guard);
  } finally {
    guard.dispose();
    for (const listener of onException) process.on('uncaughtException', listener);
    for (const listener of onRejection) process.on('unhandledRejection', listener);
  }
}
