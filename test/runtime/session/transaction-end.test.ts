import { expect } from 'chai';
import fc from 'fast-check';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createRequire } from 'node:module';
import { dag, type Dag, type DagBuilder } from '../../../src/runtime/dag/dag.js';
import type { Session } from '../../../src/runtime/session/session.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

/** Texts that end the transaction of the task, and go on. Each inserts rows that must never be committed. */
const ENDS: readonly string[] = [
  `rollback; insert into t values ('out')`,
  `insert into t values ('in'); rollback; insert into t values ('out')`,
  `insert into t values ('in'); rollback; begin; insert into t values ('out'); commit`,
  `insert into t values ('in'); rollback and chain; insert into t values ('out'); commit`,
  `insert into t values ('in'); rollback work and no chain; insert into t values ('out')`,
  `insert into t values ('in'); commit; insert into t values ('out')`,
  `insert into t values ('in'); commit and chain; insert into t values ('out'); commit`,
  `insert into t values ('in'); end; insert into t values ('out')`,
  `insert into t values ('in'); end transaction; insert into t values ('out')`,
  `abort; insert into t values ('out')`,
  `ABORT WORK;insert into t values ('out')`,
  `rollback\n;\ninsert into t values ('out');`,
  `;;rollback;;insert into t values ('out');;`,
  `-- a comment; with a semicolon\nrollback; insert into t values ('out')`,
  `/* a /* nested */ comment */ rollback /* and */ transaction; insert into t values ('out')`,
  `insert into t values (';'); RollBack; insert into t values ('out')`,
  `insert into t values ($$;$$); rollback; insert into t values ('out')`,
  `insert into t values ('in'); prepare transaction 'etl'; insert into t values ('out')`,
  `insert into t values ('in'); rollback prepared 'etl'; insert into t values ('out')`,
  `set session characteristics as transaction read write; rollback; insert into t values ('out')`,
  `savepoint a; rollback to a; release a; rollback; insert into t values ('out')`,
  `do $$ begin commit; end $$; insert into t values ('out')`,
  `insert into t values ('in'); call ends(); insert into t values ('out')`,
  `rollback`,
  `rollback;`,
  `commit;`,
  `/**/ commit`,
];

/** pg-cursor has no types. */
const Cursor = createRequire(import.meta.url)('pg-cursor') as new (sql: string) => object & {
  read(rows: number): Promise<unknown>;
};
type Define = (d: DagBuilder<Readonly<Record<never, never>>, undefined>, sql: string) => unknown;
type Client = { query(stream: object): NodeJS.ReadableStream & NodeJS.WritableStream };
const clientOf = async (session: Session): Promise<Client> =>
  (await session.client.acquireConnection()) as Client;
const read = async (rows: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of rows);
};

/** The ways in which a text of the user gets to the server. */
const WAYS: readonly [title: string, define: Define][] = [
  ['session.raw', (d, sql) => d.session('w', {}, async ({ session }) => void (await session.raw(sql)))],
  [
    'session.raw after another query',
    (d, sql) =>
      d.session('w', {}, async ({ session }) => {
        await session.raw('select 1');
        await session.raw(sql);
      }),
  ],
  [
    'session.raw in a savepoint',
    (d, sql) =>
      d.session('w', {}, ({ session }) => session.transaction(async (part) => void (await part.raw(sql)))),
  ],
  [
    'session.raw whose error the task ignores',
    (d, sql) =>
      d.session('w', {}, async ({ session }) => {
        await session.raw(sql).catch(() => undefined);
        await session('t')
          .insert({ v: 'later' })
          .catch(() => undefined);
      }),
  ],
  [
    'session.raw that the task does not await',
    (d, sql) => d.session('w', {}, async ({ session }) => void session.raw(sql).catch(() => undefined)),
  ],
  ['session.rows', (d, sql) => d.session('w', {}, ({ session }) => read(session.rows(sql)))],
  ['session.copyTo', (d, sql) => d.session('w', {}, ({ session }) => read(session.copyTo(sql)))],
  [
    'session.copyTo behind a COPY',
    (d, sql) => d.session('w', {}, ({ session }) => read(session.copyTo(`copy t to stdout; ${sql}`))),
  ],
  [
    'session.copyFrom behind a COPY',
    (d, sql) =>
      d.session('w', {}, ({ session }) => session.copyFrom(`copy t from stdin; ${sql}`, ['copied\n'])),
  ],
  [
    'a COPY of pg-copy-streams',
    (d, sql) =>
      d.session('w', {}, async ({ session }) => {
        const client = await clientOf(session);
        await pipeline(Readable.from(['copied\n']), client.query(copyFrom(`copy t from stdin; ${sql}`)));
      }),
  ],
  [
    'a COPY to the client of pg-copy-streams',
    (d, sql) =>
      d.session('w', {}, async ({ session }) => {
        await read((await clientOf(session)).query(copyTo(`copy t to stdout; ${sql}`)));
      }),
  ],
  [
    'a cursor',
    (d, sql) =>
      d.session('w', {}, async ({ session }) => {
        const cursor = new Cursor(sql);
        (await clientOf(session)).query(cursor);
        await cursor.read(10);
      }),
  ],
  ['the option `sql`', (d, sql) => d.sql('w', { sql })],
  ['a list of `sql`', (d, sql) => d.sql('w', { sql: [`insert into t values ('in')`, sql] })],
  ['a function `sql`', (d, sql) => d.sql('w', { sql: () => ({ text: sql, values: [] }) })],
  [
    'a check',
    (d, sql) =>
      d.sql('w', {
        sql: `insert into t values ('in')`,
        checks: [
          { name: 'c', sql: `select 1 from t where false) as a; ${sql}; select from (select 1 where false` },
        ],
      }),
  ],
  [
    'the query of an unload',
    (d, sql) =>
      d.unload('w', { query: `select 1) to stdout; ${sql}; copy (select 1`, to: '.etl/test/w.csv' }),
  ],
  [
    'the query of a transfer',
    (d, sql) =>
      d.transfer('w', {
        from: 'db',
        query: `select 'x' as v) to stdout; ${sql}; copy (select 'x' as v`,
        into: 't',
        mode: 'append',
      }),
  ],
];

/** Creates a Dag with one task "w", which ends after ten seconds if it hangs. */
const define = (of: Define, sql: string): Dag =>
  dag('d', { defaults: { conn: 'db', timeout: '10s' } }, (d) => void of(d, sql));

describe('a text that ends the transaction of its task', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query(`create table t (v text);
      create procedure ends() language plpgsql as $$ begin commit; insert into t values ('out'); commit; end $$`);
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate t'));
  afterEach(() => db.query('delete from etl.task'));

  for (const [title, way] of WAYS) {
    it(`commits nothing, whatever follows, if it comes by ${title}`, async () => {
      for (const sql of ENDS) {
        const run = await runOn({ db: db.url }, define(way, sql));
        expect(run.outcome('w'), sql).to.match(/^failed (?!ETL-3301)/);
        expect(await db.query('select v from t'), sql).to.deep.equal([]);
        expect(await db.query('select from etl.task'), sql).to.deep.equal([]);
        expect(await db.query('select from pg_prepared_xacts'), sql).to.deep.equal([]);
      }
      expect(await db.leftSessions()).to.deep.equal([]);
    });
  }

  it('is refused by its name, before the server gets any of it', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session(
        'w',
        {},
        async ({ session }) => void (await session.raw(`insert into t values ('in'); rollback`)),
      );
    });
    const { tasks } = await runOn({ db: db.url }, graph);
    expect(tasks[0]?.error).to.include({ code: 'ETL-3202', data: '"w" wrote nothing' });
    expect(tasks[0]?.error?.message).to.match(/a task can't send ROLLBACK$/);
  });

  it('commits nothing if the text hides the end behind a backslash that only the server takes as an escape', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', {}, async ({ session }) => {
        await session.raw('set standard_conforming_strings = off');
        await session.raw(`select 'x\\', ' ; rollback; insert into t values (''out'') --'`);
      });
    });
    const run = await runOn({ db: db.url }, graph);
    // The server takes the whole text as several statements, and refuses them in one message.
    expect(run.outcome('w')).to.equal('failed ETL-3001');
    expect(await db.query('select v from t')).to.deep.equal([]);
  });

  it('writes nothing to a database that the task only reads from', async () => {
    await using other = await createDatabase();
    await other.query('create table t (v text)');
    for (const sql of [...ENDS, `commit; begin read write; insert into t values ('out'); commit`]) {
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.session('w', { reads: ['other'] }, async ({ sources }) => void (await sources.other.raw(sql)));
      });
      const run = await runOn({ db: db.url, other: other.url }, graph);
      expect(run.outcome('w'), sql).to.match(/^failed /);
      expect(await other.query('select v from t'), sql).to.deep.equal([]);
    }
  });

  it('is found in any text of statements, comments and quotes', async () => {
    const spaces = fc.constantFrom('', ' ', '\n', '\t', ' -- rollback;\n', ' /* ; commit; /* */ */ ');
    const harmless = fc.constantFrom(
      `insert into t values ('a')`,
      `insert into t values ('rollback; commit; it''s')`,
      `insert into t values (e'\\'; rollback; --')`,
      `insert into t select $x$; rollback; $$ ; commit $x$`,
      `do $$ begin insert into t values (';'); end; $$`,
      `savepoint commit`,
      `insert into t select 1 as "; rollback"`,
      'select case when true then 1 end',
    );
    const end = fc.constantFrom(
      'rollback',
      'COMMIT',
      'end',
      'Abort',
      'rollback and chain',
      'commit work',
      'rollback transaction',
    );
    const part = (statement: fc.Arbitrary<string>) =>
      fc.tuple(spaces, statement, spaces).map((texts) => texts.join(''));
    const list = fc.array(part(harmless), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(list, fc.option(part(end)), list, async (before, ending, rest) => {
        // A Dag can't have an empty SQL text.
        fc.pre(before.length + rest.length > 0 || ending !== null);
        await db.query('truncate t');
        const sql = [...before, ...(ending === null ? [] : [ending]), ...rest, ''].join(';');
        const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('w', { sql }));
        const run = await runOn({ db: db.url }, graph);
        expect(run.outcome('w')).to.equal(ending === null ? 'success' : 'failed ETL-3202');
        const inserts = [...before, ...rest].filter((text) => text.includes('insert')).length;
        expect(await db.query('select v from t')).to.have.lengthOf(ending === null ? inserts : 0);
      }),
      { numRuns: 60 },
    );
  });
});

describe('a text of several statements', () => {
  const TEXTS: readonly string[] = [
    `select 1 as a; select 2 as b, 'x' as c`,
    `insert into t values ('a'), ('b'); select v from t order by v; delete from t; update t set v = v`,
    `select 1;`,
    `select 'a;b'; -- the end`,
    `select ';' as v;;; select null as v;`,
    `create table u (i int); insert into u select generate_series(1, 3); select sum(i) from u; drop table u`,
    `create function f() returns int language sql begin atomic select 1; select 2; end; select f(); drop function f`,
    `create table r (i int); create rule two as on insert to r do (select 1; select 2); drop table r`,
    `do $$ begin perform 1; end $$; select 1 where false`,
    `savepoint s; insert into t values ('x'); rollback to s; select count(*) as n from t`,
    `prepare p (int) as select $1 + 1 as n; execute p (4); deallocate p`,
    `declare c cursor for select generate_series(1, 5) as i; fetch 2 from c; close c`,
    `set local work_mem = '5MB'; show work_mem; reset work_mem`,
    `explain (costs off) select 1; values (1), (2)`,
    `;`,
    ` -- nothing\n`,
    '',
  ];
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (v text)');
  });
  after(() => db.drop());

  for (const sql of TEXTS) {
    it(`gives the results that pg gives: ${JSON.stringify(sql)}`, async () => {
      const client = new pg.Client({ connectionString: db.url });
      await client.connect();
      await client.query('begin');
      const expected = pickResults(await client.query(sql));
      await client.end();
      let actual: unknown;
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.session('w', {}, async ({ session }) => {
          const own = (await session.client.acquireConnection()) as {
            query(text: string): Promise<pg.QueryResult>;
          };
          actual = pickResults(await own.query(sql));
        });
      });
      const run = await runOn({ db: db.url }, graph);
      expect(run.outcome('w'), run.tasks[0]?.error?.message).to.equal('success');
      expect(actual).to.deep.equal(expected);
    });
  }

  it('has the position of an error in the whole text', async () => {
    const sql = `select 'ü😀'; select 1; select nope from t; select 2`;
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('w', { sql }));
    const { tasks } = await runOn({ db: db.url }, graph);
    expect(tasks[0]?.error?.where).to.match(/select '…'; select …; select nope from t; select …\n {29}\^$/);
  });

  it('runs no statement after one that fails', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', {}, async ({ session }) => {
        const part = session.transaction(async (inner) => inner.raw(`select 1/0; select nextval('s')`));
        await part.catch(() => undefined);
        return (await session.raw('select is_called from s')).rows[0].is_called as boolean;
      });
    });
    await db.query('create sequence s');
    const run = await runOn({ db: db.url }, graph);
    expect(run.outcome('w')).to.equal('success');
    expect(await db.query('select result from etl.task where run_id = $1', [run.runId])).to.deep.equal([
      { result: false },
    ]);
  });

  const copies: readonly [sql: string, code: string][] = [
    ['copy t from stdin; select 1', 'ETL-3544'],
    ['select 1; copy t from stdin', 'ETL-3544'],
    ['select 1; copy t to stdout; select 2', 'ETL-3544'],
    [`copy t from stdin (delimiter ';')`, 'ETL-3544'],
    [`copy (select ';') to stdout`, 'ETL-3544'],
  ];
  for (const [sql, code] of copies) {
    it(`is refused with a COPY from or to the client: ${sql}`, async () => {
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.session('w', {}, async ({ session }) => {
          const part = session.transaction(async (inner) => inner.raw(sql));
          const error = await part.catch((thrown: unknown) => thrown);
          // The connection still answers.
          await session.raw('select 1');
          throw error;
        });
      });
      const run = await runOn({ db: db.url }, graph);
      expect(run.outcome('w')).to.equal(`failed ${code}`);
    });
  }
});

function pickResults(results: pg.QueryResult | readonly pg.QueryResult[]): unknown {
  return [results]
    .flat()
    .map(({ command, rowCount, rows, fields }) => [command, rowCount, rows, fields.map(({ name }) => name)]);
}
