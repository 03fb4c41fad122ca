import { expect } from 'chai';
import { createRequire } from 'node:module';
import pg, { type Pool } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import QueryStream from 'pg-query-stream';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { Session } from '../../../src/runtime/session/session.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { type FinishedRun, runOn } from '../../support/run.js';

/** The part of a client of pg that the calls use. The callback forms have no common type. */
type Client = Pick<pg.ClientBase, 'query' | 'escapeIdentifier' | 'escapeLiteral' | 'getTransactionStatus'> & {
  setTypeParser(oid: number, parser: (text: string) => unknown): void;
};
type Settle = (error: Error | null, result: unknown) => void;
type QueryByCallback = (...args: unknown[]) => unknown;

/** pg-cursor has no types. */
const Cursor = createRequire(import.meta.url)('pg-cursor') as new (
  sql: string,
  values?: unknown[],
) => pg.Submittable & {
  read(rows: number): Promise<unknown[]>;
  close(): Promise<void>;
};

const ALL_TYPES = `select 1::int2 as a, 2::int4 as b, 9007199254740993::int8 as c, 1.10::numeric as d, 'Infinity'::float8 as e,
  true as f, 'x'::text as g, '\\x00ff'::bytea as h, '{"a":[1,null]}'::jsonb as i, '2020-01-02 03:04:05.678901+00'::timestamptz as j,
  '2020-01-02'::date as k, '1 day 02:03:04.5'::interval as l, '{1,2,NULL}'::int[] as m, '(1,2)'::point as n, null::int as o,
  '00000000-0000-0000-0000-000000000001'::uuid as p, 'infinity'::timestamptz as q, '{"a,b"}'::text[] as r`;

/** Sends a query by a call that takes a callback, and returns its result. */
const byCallback = (
  client: Client,
  send: (query: QueryByCallback, settle: Settle) => unknown,
): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const settle: Settle = (error, result) => {
      if (error) reject(error);
      else resolve(result);
    };
    const returned = send(client.query.bind(client), settle);
    if (returned !== undefined) reject(new Error('a call with a callback returned something'));
  });

async function collect(rows: AsyncIterable<unknown>): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const row of rows) found.push(row);
  return found;
}

/** The calls of pg's query interface. Each is sent in a transaction, to pg itself and to `session.pg`. */
const CALLS: Readonly<Record<string, (client: Client) => unknown>> = {
  'a text': (client) => client.query(ALL_TYPES),
  'a text with values': (client) => client.query('select $1::int as n, $2::text as t', [7, 'é😀']),
  'a config': (client) => client.query({ text: 'select $1::int as n', values: [7] }),
  'a config with values beside it': (client) => client.query({ text: 'select $1::int as n' }, [7]),
  'values of every kind': (client) =>
    client.query(
      'select $1::text as a, $2::text as b, $3::text as c, $4::text as d, $5::bytea as e, $6::int[] as f, $7::text as g',
      [true, 1.5, new Date(0), { a: [1] }, Buffer.from([0, 255]), [1, null], null],
    ),
  'rowMode array': (client) => client.query({ text: ALL_TYPES, rowMode: 'array' }),
  'rowMode array with equal names': (client) =>
    client.query({ text: 'select 1 as n, 2 as n', rowMode: 'array' }),
  'types of its own': (client) =>
    client.query({
      text: ALL_TYPES,
      types: { getTypeParser: ((oid: number) => (value: string) => `${oid}: ${value}`) as never },
    }),
  'a parser of the client': async (client) => {
    client.setTypeParser(23, (value) => `int ${value}`);
    const results = [
      await client.query('select 1 as n, 2::int8 as o'),
      await client.query({ text: 'select 1 as n' }),
    ];
    client.setTypeParser(23, (value) => Number.parseInt(value, 10));
    return results;
  },
  'a name, twice': async (client) => {
    const query = { name: 'by name', text: 'select $1::int + 1 as n' };
    return [await client.query({ ...query, values: [1] }), await client.query({ ...query, values: [2] })];
  },
  'a name with another text': async (client) => {
    await client.query({ name: 'same', text: 'select 1 as n' });
    return client.query({ name: 'same', text: 'select 2 as n' });
  },
  'several statements': (client) =>
    client.query(`insert into t values ('a'), ('b'); select v from t; delete from t`),
  'no statement': (client) => client.query(''),
  'insert, update and delete': async (client) => [
    await client.query(`insert into t values ('a'), ('b') returning v`),
    await client.query(`update t set v = v || 'x' where v = $1`, ['a']),
    await client.query('delete from t'),
  ],
  'an error of the server': (client) => client.query('select nope'),
  'an error with values': (client) => client.query('select $1::int', ['x']),
  'null instead of a text': (client) => client.query(null as unknown as string),
  'text, callback': (client) => byCallback(client, (query, settle) => query('select 1 as n', settle)),
  'text, values, callback': (client) =>
    byCallback(client, (query, settle) => query('select $1::int as n', [1], settle)),
  'config, callback': (client) =>
    byCallback(client, (query, settle) => query({ text: 'select $1::int as n', values: [1] }, settle)),
  'config, values, callback': (client) =>
    byCallback(client, (query, settle) => query({ text: 'select $1::int as n' }, [1], settle)),
  'config with a callback': (client) =>
    byCallback(client, (query, settle) => query({ text: 'select 1 as n', callback: settle })),
  'an error, callback': (client) => byCallback(client, (query, settle) => query('select nope', settle)),
  'a pg.Query with events': async (client) => {
    const query = client.query(new pg.Query('select generate_series(1, 3) as n'));
    const rows: unknown[] = [];
    query.on('row', (row) => rows.push(row));
    await new Promise((resolve, reject) => {
      query.on('end', resolve);
      query.on('error', reject);
    });
    return rows;
  },
  'a pg.Query that fails': async (client) => {
    const query = client.query(new pg.Query('select nope'));
    await new Promise((resolve, reject) => {
      query.on('end', resolve);
      query.on('error', reject);
    });
  },
  'a cursor': async (client) => {
    const cursor = client.query(new Cursor('select generate_series(1, $1::int) as n', [5]));
    const rows = [await cursor.read(2), await cursor.read(2), await cursor.read(2), await cursor.read(2)];
    await cursor.close();
    return rows;
  },
  'a cursor that is closed early, and a query after it': async (client) => {
    const cursor = client.query(new Cursor('select generate_series(1, 100) as n'));
    const rows = await cursor.read(2);
    await cursor.close();
    return [rows, await client.query('select 1 as n')];
  },
  'a query stream': (client) =>
    collect(client.query(new QueryStream('select generate_series(1, 500) as n', [], { batchSize: 100 }))),
  'a COPY from and to the client by streams': async (client) => {
    const copied = client.query(copyFrom('copy t from stdin'));
    await pipeline(Readable.from(['a\n', 'b\n']), copied);
    const parts = await collect(client.query(copyTo('copy (select v from t order by v) to stdout')));
    await client.query('delete from t');
    return [copied.rowCount, Buffer.concat(parts as Buffer[]).toString()];
  },
  'queries without await between them': (client) =>
    Promise.all([1, 2, 3].map((n) => client.query('select $1::int as n', [n]))),
  'a savepoint of its own': async (client) => {
    await client.query('savepoint mine');
    const error = await client
      .query('select 1/0')
      .catch((thrown: unknown) => (thrown as { code: string }).code);
    await client.query('rollback to savepoint mine');
    return [
      error,
      (await client.query('release savepoint mine')).command,
      await client.query('select 1 as n'),
    ];
  },
  'quoted names and texts': (client) => [client.escapeIdentifier('a"b'), client.escapeLiteral(`a'b\\c`)],
  'the status of the transaction': async (client) => {
    await client.query('savepoint s');
    await client.query('select 1/0').catch(() => undefined);
    // pg takes the status from the end of a query, after it has reported the error.
    await client.query('select 1').catch(() => undefined);
    const failed = client.getTransactionStatus();
    await client.query('rollback to s');
    return [failed, client.getTransactionStatus()];
  },
};

/** Runs a call, and returns what a user of pg sees: results without private parts, and the fields of errors. */
async function see(call: (client: Client) => unknown, client: Client): Promise<unknown> {
  try {
    return show(await call(client));
  } catch (error) {
    const { message, code, position } = error as { message: string; code?: string; position?: string };
    return { error: message, code, position };
  }
}

function show(result: unknown): unknown {
  if (Array.isArray(result)) return result.map(show);
  if (typeof result !== 'object' || result === null || !('rows' in result)) return result;
  const { command, rowCount, rows, fields } = result as pg.QueryResult;
  return {
    command,
    rowCount,
    rows: rows as unknown[],
    fields: fields.map(({ name, dataTypeID }) => ({ name, dataTypeID })),
  };
}

describe('session.pg', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (v text)');
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate t'));

  async function run(body: (pool: Pool, session: Session) => unknown): Promise<FinishedRun> {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', {}, async ({ session }) => void (await body(session.pg, session)));
    });
    return runOn({ db: db.url }, graph);
  }
  const rows = async (): Promise<unknown[]> =>
    (await db.query<{ v: string }>('select v from t')).map(({ v }) => v);

  for (const [title, call] of Object.entries(CALLS)) {
    it(`answers as pg does: ${title}`, async () => {
      const client = new pg.Client({ connectionString: db.url });
      await client.connect();
      await client.query('begin');
      const expected = await see(call, client);
      await client.end();
      const seen: unknown[] = [];
      await run(async (pool) => {
        seen.push(await see(call, await pool.connect()));
      });
      await run(async (pool) => {
        await pool.query('select 1');
        seen.push(await see(call, await pool.connect()));
      });
      expect(seen).to.deep.equal([expected, expected]);
    });
  }

  it('has the methods of a pool: connect with a promise or a callback, query, events and counts', async () => {
    const events: string[] = [];
    const { tasks } = await run(async (pool) => {
      for (const event of ['connect', 'acquire', 'release'] as const)
        pool.on(event, () => events.push(event));
      expect([pool.totalCount, pool.idleCount, pool.waitingCount]).to.deep.equal([0, 0, 0]);
      const client = await pool.connect();
      expect(pool.totalCount).to.equal(1);
      await client.query(`insert into t values ('by a client')`);
      client.release();
      expect(() => client.release()).to.throw('Release called on client which has already been released');
      await new Promise<void>((resolve, reject) => {
        pool.connect((error, leased, release) => {
          if (error !== undefined || leased === undefined) return reject(error ?? new Error('no client'));
          leased.query(`insert into t values ('by a callback')`, (failure: Error | null) => {
            release();
            if (failure) reject(failure);
            else resolve();
          });
        });
      });
      await pool.query(`insert into t values ('by the pool')`);
      expect([pool.totalCount, pool.ending, pool.ended]).to.deep.equal([0, false, false]);
    });
    expect(tasks[0]?.error).to.equal(undefined);
    expect(events).to.deep.equal(['connect', 'acquire', 'release', 'connect', 'acquire', 'release']);
    expect(await rows()).to.deep.equal(['by a client', 'by a callback', 'by the pool']);
  });

  it('is not ended by end(), which is the clean-up of a library', async () => {
    const { tasks } = await run(async (pool) => {
      await pool.end();
      await new Promise<void>((resolve) => pool.end(() => resolve()));
      await pool.query(`insert into t values ('after')`);
    });
    expect(tasks[0]?.error).to.equal(undefined);
    expect(await rows()).to.deep.equal(['after']);
  });

  it('is a config of a real pg.Pool, whose clients are in the transaction of the task', async () => {
    const { tasks } = await run(async (pool) => {
      for (const config of [pool, pool.options]) {
        const own = new pg.Pool(config as pg.PoolConfig);
        const { rows: same } = await own.query('select pg_current_xact_id() = $1 as same', [
          (await pool.query('select pg_current_xact_id() as id')).rows[0].id,
        ]);
        expect(same).to.deep.equal([{ same: true }]);
        const client = await own.connect();
        await client.query('begin');
        await client.query(`insert into t values ('undone')`);
        await client.query('rollback');
        client.release();
        await own.query(`insert into t values ('kept')`);
        await own.end();
      }
      throw new Error('undo all');
    });
    expect(tasks[0]?.error?.message).to.equal('undo all');
    expect(await rows()).to.deep.equal([]);
  });

  it('passes notices and notifications to the listeners of a client, up to the end of the task', async () => {
    const seen: unknown[] = [];
    const { tasks } = await run(async (pool) => {
      const client = await pool.connect();
      client.on('notice', ({ message }) => seen.push(message));
      client.on('notification', ({ channel }) => seen.push(channel));
      await client.query(`do $$ begin raise notice 'a notice'; end $$`);
    });
    await run((pool) => pool.query(`do $$ begin raise notice 'of another task'; end $$`));
    expect(tasks[0]?.error).to.equal(undefined);
    expect(seen).to.deep.equal(['a notice']);
  });

  it('has no parser of a client in the next task on the same connection', async () => {
    const seen: unknown[] = [];
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      const first = d.session('first', {}, async ({ session }) => {
        const client = await session.pg.connect();
        client.setTypeParser(23, () => 'parsed');
        seen.push((await client.query('select 1 as n')).rows[0].n);
      });
      d.session('next', { needs: [first] }, async ({ session }) => {
        seen.push((await session.pg.query('select 1 as n')).rows[0].n);
      });
    });
    await runOn({ db: db.url }, graph, { concurrency: 1 });
    expect(seen).to.deep.equal(['parsed', 1]);
  });

  it('has no prepared statement of one task in the next task on the same connection', async () => {
    const seen: unknown[] = [];
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      let before: ReturnType<typeof d.session> | undefined;
      for (const n of [1, 2, 3])
        before = d.session(`task-${n}`, before ? { needs: [before] } : {}, async ({ session }) => {
          const query = { name: 'same', text: `select ${n} as n` };
          seen.push((await session.pg.query(query)).rows[0].n, (await session.pg.query(query)).rows[0].n);
        });
    });
    const { state } = await runOn({ db: db.url }, graph, { concurrency: 1 });
    expect(state).to.equal('success');
    expect(seen).to.deep.equal([1, 1, 2, 2, 3, 3]);
  });

  it('sends a value that pg would change without an error as the session does', async () => {
    const values = [-0, new Map([['a', 1]]), '\uD800', { a: NaN }];
    const ends = new Map<unknown, string[]>();
    for (const value of values) {
      const each: string[] = [];
      for (const send of [
        (session: Session) => session.raw('select ?::text as v', [value as never]),
        (session: Session) => session.pg.query('select $1::text as v', [value]),
        (session: Session) => session.pg.query({ text: 'select $1::text as v', values: [value] }),
      ]) {
        const finished = await run(async (_, session) => {
          each.push(JSON.stringify((await send(session)).rows));
        });
        if (finished.tasks[0]?.error !== undefined) each.push(finished.outcome('w'));
      }
      ends.set(value, each);
    }
    for (const [value, [first, ...others]] of ends)
      expect(others, String(value)).to.deep.equal([first, first]);
    expect(ends.get(-0)).to.deep.equal(Array(3).fill('[{"v":"-0"}]'));
  });

  for (const [title, text] of Object.entries({
    'a COPY as a plain text': 'copy t to stdout',
    'a COPY from the client': 'copy t from stdin',
  }))
    it(`refuses what the session refuses: ${title}`, async () => {
      expect((await run((pool) => pool.query(text))).outcome('w')).to.equal('failed ETL-3544');
    });

  for (const text of [
    `begin; insert into t values ('x'); commit`,
    `begin; insert into t values ('x')`,
    `insert into t values ('x'); start transaction; select 1`,
  ])
    it(`refuses a BEGIN between other statements: ${text}`, async () => {
      const finished = await run((pool) => pool.query(text).catch(() => undefined));
      expect(finished.outcome('w')).to.equal('failed ETL-3209');
      expect(await rows()).to.deep.equal([]);
    });

  for (const end of ['commit and chain', 'rollback and chain', 'begin', 'start transaction read only'])
    it(`refuses in a transaction: ${end}`, async () => {
      const finished = await run(async (pool) => {
        await pool.query('begin');
        await pool.query(end).catch(() => undefined);
        await pool.query('rollback');
      });
      expect(finished.outcome('w')).to.equal('failed ETL-3209');
    });

  for (const begin of ['begin deferrable', 'begin isolation level serializable, read only, deferrable'])
    it(`can't give, and names: ${begin}`, async () => {
      const finished = await run((pool) => pool.query(begin));
      expect(finished.outcome('w')).to.equal('failed ETL-3209');
    });

  for (const [begin, end] of [
    ['BEGIN', 'COMMIT'],
    ['begin;', 'commit;'],
    ['begin work', 'end work'],
    [
      '/* by a library */ begin transaction isolation level read committed, read write',
      'end transaction -- done',
    ],
    ['start transaction not deferrable', 'commit and no chain'],
  ] as const)
    it(`commits with the task what is between ${begin} and ${end}`, async () => {
      const { tasks } = await run(async (pool) => {
        expect((await pool.query(begin)).command).to.equal('BEGIN');
        await pool.query(`insert into t values ('x')`);
        expect((await pool.query(end)).command).to.equal('COMMIT');
      });
      expect(tasks[0]?.error).to.equal(undefined);
      expect(await rows()).to.deep.equal(['x']);
    });

  for (const end of ['ROLLBACK', 'abort', 'rollback work', 'rollback transaction and no chain;'])
    it(`undoes what is between BEGIN and ${end}`, async () => {
      const { tasks } = await run(async (pool) => {
        await pool.query('BEGIN');
        await pool.query(`insert into t values ('x')`);
        expect((await pool.query(end)).command).to.equal('ROLLBACK');
        await pool.query(`insert into t values ('y')`);
      });
      expect(tasks[0]?.error).to.equal(undefined);
      expect(await rows()).to.deep.equal(['y']);
    });

  it('rolls back the open transaction of a client that is released, and fails the task', async () => {
    const finished = await run(async (pool) => {
      const client = await pool.connect();
      await client.query('begin');
      await client.query(`insert into t values ('x')`);
      client.release();
      await pool.query('select 1');
    });
    expect(finished.outcome('w')).to.equal('failed ETL-3211');
  });

  it('rolls back the open transaction of a client that is released with an error, as a pool does', async () => {
    const { tasks } = await run(async (pool) => {
      const client = await pool.connect();
      await client.query('begin');
      await client.query(`insert into t values ('x')`);
      client.release(true);
      await pool.query(`insert into t values ('y')`);
    });
    expect(tasks[0]?.error).to.equal(undefined);
    expect(await rows()).to.deep.equal(['y']);
  });

  it('is read only on a connection that the task only reads', async () => {
    await using other = await createDatabase();
    await other.query(`create table t (v text); insert into t values ('there')`);
    const seen: unknown[] = [];
    const define = (sql: string) =>
      dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.session('w', { reads: ['other'] }, async ({ sources }) => {
          await sources.other.pg.query('begin');
          seen.push((await sources.other.pg.query(sql)).rows);
          await sources.other.pg.query('commit');
        });
      });
    const urls = { db: db.url, other: other.url };
    expect((await runOn(urls, define('select v from t'))).outcome('w')).to.equal('success');
    expect(seen).to.deep.equal([[{ v: 'there' }]]);
    const refused = await runOn(urls, define(`insert into t values ('x')`));
    expect(refused.tasks[0]?.error?.why).to.include('25006');
  });
});
