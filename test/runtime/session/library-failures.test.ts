import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import pg from 'pg';
import { dag } from '../../../src/runtime/dag/dag.js';
import { findDatabaseError } from '../../../src/runtime/postgres/sqlstate.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { recordingProxy } from '../../support/recording-proxy.js';
import { type FinishedRun, type RunOptions, runOn } from '../../support/run.js';
import { LIBRARIES, type Library, type Queries } from './libraries.js';
import { ENDING_TABLES, sendWithoutAwait } from './session-endings.js';

const HERE = import.meta.filename;

/** Returns the location of the only line of this file that contains the text, such as `file.test.ts:12`. */
async function findLine(text: string): Promise<string> {
  const lines = (await readFile(HERE, 'utf8')).split('\n');
  return `${basename(HERE)}:${lines.findIndex((line) => line.includes(text)) + 1}`;
}

for (const library of LIBRARIES) {
  describe(`a task that fails, with ${library.name} on session.pg`, () => {
    let db: TestDatabase;
    before(async () => {
      db = await createDatabase();
      await db.query(`${ENDING_TABLES}; create sequence tries`);
    });
    after(() => db.drop());
    beforeEach(() => db.query('truncate t, u, child, parent'));

    const run = (body: (queries: Queries) => unknown, options: RunOptions = {}): Promise<FinishedRun> =>
      runOn({ db: db.url }, define(library, body), options);

    it('names the statement, the line of the user, the constraint and the SQLSTATE, and no value', async () => {
      const finished = await run(async (queries) => {
        await queries.insert('u', { id: 4_815_162 });
        await queries.insert('u', { id: 4_815_162 }); // the line of the user
      });
      const { code, what, where, why } = finished.tasks[0]?.error ?? {};
      expect(code).to.equal('ETL-3001');
      expect(what).to.equal('duplicate key value violates unique constraint "u_pkey"');
      expect(where).to.match(/insert into .*\bu\b.* \(.*id.*\) values \(\$1\)/i);
      expect(where).to.include(await findLine('// the line of the user'));
      expect(why).to.include('SQLSTATE 23505, unique violation, constraint "u_pkey", table "u"');
      expect([what, where, why].join('\n')).to.not.include('4815162');
    });

    it('names them if the statement is in a transaction of the library', async () => {
      const finished = await run((queries) =>
        queries.transaction(async (part) => {
          await part.insert('u', { id: 1 });
          await part.insert('u', { id: 1 }); // the line in the transaction
        }),
      );
      const { where, why } = finished.tasks[0]?.error ?? {};
      expect(where).to.include(await findLine('// the line in the transaction'));
      expect(why).to.include('SQLSTATE 23505');
    });

    it('shows no value of a row if the code of the user wraps the error of the library', async () => {
      const finished = await run(async (queries) => {
        await queries.insert('u', { id: 4_815_162 });
        await Promise.resolve(queries.insert('u', { id: 4_815_162 })).catch((cause: unknown) => {
          throw new Error('the import has failed', { cause });
        });
      });
      const { message, where, why } = finished.tasks[0]?.error ?? {};
      expect(message).to.equal('the import has failed');
      expect([message, where, why].join('\n')).to.not.include('4815162');
    });

    it('is retried after a serialization failure', async () => {
      await db.query('alter sequence tries restart');
      const finished = await run(async (queries) => {
        await queries.insert('t', { v: 'x' });
        await queries.raw(`do $$ begin
          if nextval('tries') < 3 then raise exception using errcode = '40001'; end if; end $$`);
      });
      expect(finished.outcome('w')).to.equal('success');
      expect(await db.query('select last_value::int as n from tries')).to.deep.equal([{ n: 3 }]);
      expect(await db.query('select v from t')).to.deep.equal([{ v: 'x' }]);
    });

    it('can not send a query after its end, and the run fails', async () => {
      let sendLate = (): void => undefined;
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        const first = d.session('first', {}, async ({ session }) => {
          const queries = library.open(session.pg);
          await queries.insert('t', { v: 'x' });
          sendLate = () => sendWithoutAwait(queries.insert('t', { v: 'y' }));
        });
        d.session('second', { needs: [first] }, async ({ session }) => {
          sendLate();
          await session.raw('select pg_sleep(0)');
        });
      });
      const finished = await runOn({ db: db.url }, graph);
      expect(finished.errors.map(({ code }) => code)).to.deep.equal(['ETL-3206']);
      expect(finished.state).to.equal('failed');
      expect(await db.query('select v from t')).to.deep.equal([{ v: 'x' }]);
    });

    it('is stopped with its statement when the run is stopped', async () => {
      const stop = new AbortController();
      const finished = await run(
        async (queries) => {
          await queries.insert('t', { v: 'x' });
          const slept = Promise.resolve(queries.raw('select pg_sleep(60)::text'));
          await db.query(`do $$ begin
            while not exists (select from pg_stat_activity where query like 'select pg_sleep(60)%' and state = 'active') loop
              perform pg_sleep(0.01); perform pg_stat_clear_snapshot(); end loop; end $$`);
          stop.abort();
          await slept;
        },
        { signal: stop.signal },
      );
      expect(finished.state).to.not.equal('success');
      expect(await db.query('select v from t')).to.deep.equal([]);
      expect(await db.leftSessions()).to.deep.equal([]);
    });

    it('has the error of a lost connection if the server says nothing', async () => {
      const proxy = await recordingProxy(Number(new URL(db.url).port));
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.task('home', {}, async () => undefined);
        d.session('w', { conn: 'cut' }, async ({ session }) => {
          const queries = library.open(session.pg);
          await queries.insert('t', { v: 'x' });
          const slept = Promise.resolve(queries.raw('select pg_sleep(60)::text'));
          slept.catch(() => undefined);
          await proxy[Symbol.asyncDispose]();
          await slept;
        });
      });
      const finished = await runOn({ db: db.url, cut: proxy.url(db.url) }, graph);
      expect(finished.outcome('w')).to.equal('failed ETL-1002');
      expect(await db.query('select v from t')).to.deep.equal([]);
    });

    it('runs queries that are started together one after the other', async () => {
      const finished = await run(async (queries) => {
        const numbers = Array.from({ length: 25 }, (_, n) => n);
        const results = await Promise.all(numbers.map((n) => queries.raw(`select ${n} as n`)));
        expect(results.map(([row]) => Number(row?.['n']))).to.deep.equal(numbers);
      });
      expect(finished.outcome('w'), finished.tasks[0]?.error?.message).to.equal('success');
    });

    it('reads the values that it reads from a pool of its own', async () => {
      const sql = `select 1::int2 as a, 9007199254740993::int8 as b, 123456789012345678901234567890.123::numeric as c,
        'Infinity'::float8 as d, true as e, repeat('é😀', 100000) as f, '\\x00ff'::bytea as g, '{"a":[1,null]}'::jsonb as h,
        '2020-01-02 03:04:05.678901+00'::timestamptz as i, '2020-01-02'::date as j, '{1,2}'::int[] as k, null::int as l,
        '00000000-0000-0000-0000-000000000001'::uuid as m, '12:00:00'::time as n`;
      const pool = new pg.Pool({ connectionString: db.url });
      const expected = await library.open(pool).raw(sql);
      await pool.end();
      let seen: unknown;
      const finished = await run(async (queries) => {
        seen = await queries.raw(sql);
      });
      expect(finished.tasks[0]?.error).to.equal(undefined);
      expect(seen).to.deep.equal(expected);
    });

    it('keeps the SQLSTATE of the server for the report', async () => {
      const finished = await run((queries) => queries.insert('child', { pid: 'x' }));
      const error = finished.tasks[0]?.error;
      // Prisma checks the type itself.
      if (library.name === 'Prisma') expect(error?.code).to.equal('ETL-3001');
      else expect(findDatabaseError(error)?.code).to.equal('22P02');
    });
  });
}

/** Creates a Dag with one task, `w`. */
function define(library: Library, body: (queries: Queries) => unknown): ReturnType<typeof dag> {
  return dag('d', { defaults: { conn: 'db' } }, (d) => {
    d.session('w', {}, async ({ session }) => void (await body(library.open(session.pg))));
  });
}
