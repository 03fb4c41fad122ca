import { expect } from 'chai';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Model } from 'objection';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { Session } from '../../../src/runtime/session/session.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { STREAM_STALL_MS } from '../../../src/runtime/waiting.js';
import { holdTimers } from '../../support/held-timers.js';
import { runOn } from '../../support/run.js';

/** pg-cursor has no types. */
const Cursor = createRequire(import.meta.url)('pg-cursor') as new (sql: string) => object & {
  read(rows: number): Promise<unknown>;
};
const clientOf = async (session: Session) =>
  (await session.client.acquireConnection()) as {
    query(stream: object): NodeJS.ReadWriteStream & NodeJS.WritableStream;
  };

class Item extends Model {
  static override readonly tableName = 'item';
  declare id: number;
}

/** The methods of a session that Knex does not have: `rows`, `copyFrom` and `copyTo`. */
describe('a session', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase({ mayLeak: true });
    await db.query('create table item (id int primary key, at timestamptz, note text)');
  });
  after(() => db.drop());
  beforeEach(async () => {
    await db.query(`truncate item; insert into item
      select i, timestamptz '2020-01-01 00:00:00.5+00' + i * interval '1 hour', nullif('note ' || i, 'note 7')
      from generate_series(1, 25000) i`);
  });

  /** Calls `use` in a task, and returns its result. Throws the error of the task. */
  async function inTask<R>(use: (session: Session) => Promise<R>): Promise<R> {
    let result: { value: R } | undefined;
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('t', {}, async ({ session }) => {
        result = { value: await use(session) };
        return null;
      });
    });
    const { tasks } = await runOn({ db: db.url }, graph);
    if (tasks[0]?.error) throw tasks[0].error;
    if (result === undefined) throw new Error('the task did not run');
    return result.value;
  }
  const all = async <T>(rows: AsyncIterable<T>): Promise<T[]> => {
    const list: T[] = [];
    for await (const row of rows) list.push(row);
    return list;
  };

  const SELECT = 'select * from item order by id';
  const queries: readonly [title: string, of: (session: Session) => AsyncIterable<object>][] = [
    ['of an SQL text', (session) => session.rows(SELECT)],
    [
      'of an SQL text with values',
      (session) => session.rows({ text: `${SELECT} limit $1::int`, values: [25_000] }),
    ],
    ['of a Knex builder', (session) => session.rows(session('item').where('id', '>', 0).orderBy('id'))],
    [
      'of session.raw',
      (session) => session.rows(session.raw('select * from item where id > ? order by id', [0])),
    ],
    [
      'of an Objection query',
      (session) => session.rows(Item.query(session).where('id', '>', 0).orderBy('id')),
    ],
    [
      'in batches',
      (session) => ({ [Symbol.asyncIterator]: () => flat(session.rows(SELECT, { batch: 999 }).batches()) }),
    ],
  ];
  async function* flat<T>(batches: AsyncIterable<readonly T[]>): AsyncGenerator<T> {
    for await (const batch of batches) yield* batch;
  }
  for (const [title, of] of queries) {
    it(`reads the rows ${title} like pg`, async () => {
      expect(await inTask((session) => all(of(session)))).to.deep.equal(await db.query(SELECT));
    });
  }

  it('returns batches of the size of the option `batch`', async () => {
    const sizes = await inTask(async (session) => {
      const batches = await all(session.rows(SELECT, { batch: 10 }).batches());
      return batches.map(({ length }) => length);
    });
    expect(new Set(sizes)).to.deep.equal(new Set([10]));
  });

  it('returns no batch if there are no rows', async () => {
    expect(await inTask((session) => all(session.rows('select 1 where false').batches()))).to.deep.equal([]);
  });

  it('returns the text of the server with `text: true`', async () => {
    const rows = await inTask((session) =>
      all(
        session.rows(
          `select 1.50::numeric as n, '2020-01-01 00:00:00.123456+00'::timestamptz as at, null as x, true as b`,
          { text: true },
        ),
      ),
    );
    expect(rows).to.deep.equal([{ n: '1.50', at: '2020-01-01 00:00:00.123456+00', x: null, b: 't' }]);
  });

  it('accepts any column names, and returns the last of two columns with the same name', async () => {
    const sql = `select 1 as "a ""b"" \\ \${c}", 2 as "__proto__", 3 as "it's", 4 as "constructor", 5 as twice, 6 as twice`;
    const [row] = await inTask((session) => all(session.rows(sql)));
    expect(Object.entries(row ?? {})).to.deep.equal([
      ['a "b" \\ ${c}', 1],
      ['__proto__', 2],
      ["it's", 3],
      ['constructor', 4],
      ['twice', 6],
    ]);
  });

  it('reads texts of every length and script', async () => {
    const texts = Array.from(
      { length: 300 },
      (_, i) => Array.from({ length: i }, (__, k) => 'é€a𝄞'.normalize()[(i + k) % 3] ?? '').join('') + '😀',
    );
    const query = { text: 'select unnest($1::text[]) as x', values: [texts] };
    expect(await inTask((session) => all(session.rows(query)))).to.deep.equal(texts.map((x) => ({ x })));
  });

  it('lets other queries, and other rows, run between two rows', async () => {
    const sum = await inTask(async (session) => {
      let total = 0;
      for await (const { id } of session.rows<{ id: number }>('select id from item where id <= 500')) {
        const [other] = await all(
          session.rows<{ id: number }>({ text: 'select id from item where id = $1', values: [id] }),
        );
        await session('item').where({ id }).update({ note: 'seen' });
        total += other?.id ?? 0;
      }
      return total;
    });
    expect(sum).to.equal((500 * 501) / 2);
    expect(await db.query(`select count(*)::int as n from item where note = 'seen'`)).to.deep.equal([
      { n: 500 },
    ]);
  });

  it('ends a query at `break`, and runs further queries', async () => {
    const seen = await inTask(async (session) => {
      for await (const row of session.rows(SELECT)) {
        const portals = await session.raw('select count(*)::int as n from pg_cursors');
        return [
          (row as { id: number }).id,
          portals.rows[0].n,
          (await session.raw('select count(*)::int as n from pg_cursors')).rows[0].n,
        ];
      }
      return [];
    });
    expect(seen[0]).to.equal(1);
    expect(
      await inTask(async (session) => {
        for await (const _ of session.rows(SELECT)) break;
        return (await session.raw('select count(*)::int as n from pg_cursors')).rows[0].n as number;
      }),
    ).to.equal(0);
  });

  it('throws the error of a query while its rows are read, and goes on after a savepoint', async () => {
    const wrong = ['select none from item', 'select 1 / (3000 - id) from item', 'copy item from stdin'];
    const codes = await inTask(async (session) => {
      const seen: unknown[] = [];
      for (const sql of wrong) {
        const reading = session.transaction(async () => all(session.rows(sql)));
        seen.push(await reading.catch((error: unknown) => (error as { code: string }).code));
      }
      return seen;
    });
    expect(codes).to.deep.equal(['42703', '22012', '57014']);
  });

  it('refuses a batch of 0 rows', async () => {
    expect(
      await inTask(async (session) => session.rows(SELECT, { batch: 0 })).catch((error: unknown) => error),
    ).to.include({ code: 'ETL-3542' });
  });

  it('copies bytes out and in, in every format', async () => {
    for (const format of ['text', 'csv', 'binary'] as const) {
      const rows = await inTask(async (session) => {
        await session.raw('create temp table twin (like item) on commit drop');
        const parts = await all(session.copyTo({ table: 'item', columns: ['note', 'id', 'at'], format }));
        const sent = await session.copyFrom({ table: 'twin', columns: ['note', 'id', 'at'], format }, parts);
        const { rows: missing } = await session.raw('select * from item except select * from twin');
        return [sent, missing.length];
      });
      expect(rows, format).to.deep.equal([25_000, 0]);
    }
  });

  it('copies strings into a table, and counts the rows as rows of the task', async () => {
    async function* lines() {
      yield '30000\t\\N\té\n';
      yield '30001\t\\N\t\\N\n';
    }
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('t', {}, ({ session }) => session.copyFrom('copy item from stdin', lines()));
    });
    const { tasks } = await runOn({ db: db.url }, graph);
    expect(tasks[0]).to.include({ rows: 2 });
    expect(await db.query('select note from item where id >= 30000 order by id')).to.deep.equal([
      { note: 'é' },
      { note: null },
    ]);
  });

  it('copies rows into a table, as pg writes them for its columns', async () => {
    await db.query('create table typed (id int, d date, j jsonb, l int[], b bytea, n text default $$none$$)');
    async function* rows() {
      for (let id = 1; id <= 1200; id++)
        yield { id, d: new Date(2026, 4, 1), j: [id], l: [id, null], b: Buffer.from([id % 256]) };
    }
    const sent = await inTask((session) => session.copyFrom({ table: 'typed' }, rows()));
    expect(sent).to.equal(1200);
    expect(
      await db.query('select id, d::text, j, l, b, n from typed where id in (1, 1200) order by id'),
    ).to.deep.equal([
      { id: 1, d: '2026-05-01', j: [1], l: [1, null], b: Buffer.from([1]), n: 'none' },
      { id: 1200, d: '2026-05-01', j: [1200], l: [1200, null], b: Buffer.from([176]), n: 'none' },
    ]);
  });

  const badRows: readonly [title: string, into: Parameters<Session['copyFrom']>[0], data: readonly unknown[], code: string][] = [
    ['a row with a property that the first row lacks', { table: 'item' }, [{ id: 1 }, { id: 2, extra: 1 }], 'ETL-3561'],
    ['a column that the table lacks', { table: 'item' }, [{ id: 1, nope: 1 }], 'ETL-3513'],
    ['a table that does not exist', { table: 'none' }, [{ id: 1 }], 'ETL-3511'],
    ['rows for the text of a COPY', 'copy item from stdin', [{ id: 1 }], 'ETL-3560'],
    ['rows in the format csv', { table: 'item', format: 'csv' }, [{ id: 1 }], 'ETL-3560'],
    ['rows and bytes', { table: 'item' }, [{ id: 30000 }, '30001\n'], 'ETL-3560'],
    ['a value that JSON would change', { table: 'item', columns: ['id', 'note'] }, [{ id: 1, note: new Map() }], 'ETL-3558'],
  ]; // prettier-ignore
  for (const [title, into, data, code] of badRows) {
    it(`refuses ${title} in copyFrom, and keeps no row`, async () => {
      const error = await inTask((session) => session.copyFrom(into, data as Iterable<object>)).catch(
        (reason: unknown) => reason,
      );
      expect(error).to.include({ code });
      expect(await db.query('select count(*)::int as n from item')).to.deep.equal([{ n: 25_000 }]);
    });
  }

  it('goes on after a COPY that was ended by `break`, in a savepoint too', async () => {
    const n = await inTask((session) =>
      session.transaction(async (savepoint) => {
        await savepoint('item').where('id', '>', 10).delete();
        for await (const _ of session.copyTo(`copy (select generate_series(1, 3000000)) to stdout`)) break;
        return Number((await savepoint('item').count('* as n'))[0]?.['n']);
      }),
    );
    expect(n).to.equal(10);
    expect(await db.query('select count(*)::int as n from item')).to.deep.equal([{ n: 10 }]);
  });

  const table = { table: 'item' };
  /** Yields a row, and then what `next` returns. The row is more than the socket takes at once. */
  async function* after(next: () => unknown): AsyncGenerator<string> {
    yield `1000000\t\\N\t${'x'.repeat(4_000_000)}\n`;
    yield* (await next()) as AsyncIterable<string>;
  }
  const copies: [title: string, use: (session: Session) => Promise<unknown>][] = [
    [
      'between the parts of copyTo',
      async (session) => {
        for await (const _ of session.copyTo(table)) await session('item').first();
      },
    ],
    [
      'before the first part of copyTo has come',
      async (session) => {
        const parts = session.copyTo(table)[Symbol.asyncIterator]();
        const first = parts.next();
        // The savepoint before the COPY must have its answer.
        await session.raw('select 1');
        await session.raw('select 1');
        await first;
        await session('item').first();
      },
    ],
    [
      'at the start of the data of copyFrom',
      (session) =>
        session.copyFrom(
          table,
          (async function* () {
            await session('item').first();
            yield '';
          })(),
        ),
    ],
    [
      'after the first part of the data of copyFrom',
      (session) =>
        session.copyFrom(
          table,
          after(() => session('item').first()),
        ),
    ],
    ['that is the data of copyFrom: copyTo', (session) => session.copyFrom(table, session.copyTo(table))],
    [
      'that is the data of copyFrom: copyTo after a first part',
      (session) =>
        session.copyFrom(
          table,
          after(() => session.copyTo(table)),
        ),
    ],
    [
      'that is the data of copyFrom: rows',
      (session) =>
        session.copyFrom(
          table,
          after(() => session.rows('select 1')),
        ),
    ],
    [
      'that is the data of copyFrom: a second copyFrom',
      (session) =>
        session.copyFrom(
          table,
          after(() => session.copyFrom(table, [])),
        ),
    ],
    [
      'that is the data of copyFrom: a stream of Knex',
      (session) =>
        session.copyFrom(
          table,
          after(() => session('item').stream()),
        ),
    ],
    [
      'that is the data of copyFrom: a query of a savepoint',
      (session) =>
        session.copyFrom(
          table,
          after(() => session.transaction((part) => part.raw('select 1'))),
        ),
    ],
  ];
  copies.push([
    'in the rows of copyFrom',
    (session) => session.copyFrom({ table: 'item' }, session.rows('select * from item')),
  ]);
  for (const [title, use] of copies) {
    it(`refuses a query ${title}, which would wait for ever`, async () => {
      expect(await inTask(use).catch((error: unknown) => error)).to.include({ code: 'ETL-3543' });
    });
  }

  const streams: readonly [title: string, use: (session: Session) => Promise<unknown>][] = [
    [
      'a COPY to the client that is piped into a COPY from the client',
      async (session) => {
        const client = await clientOf(session);
        await pipeline(
          client.query(copyTo('copy (select * from item, generate_series(1, 50)) to stdout')),
          client.query(copyFrom('copy item from stdin')),
        );
      },
    ],
    [
      'a cursor that is not at its end',
      async (session) => {
        const cursor = new Cursor('select * from item');
        (await clientOf(session)).query(cursor);
        await cursor.read(10);
        await session('item').first();
      },
    ],
    [
      'a COPY from the client whose data comes from a later query',
      async (session) => {
        const stream = (await clientOf(session)).query(copyFrom('copy item from stdin'));
        await pipeline(Readable.from(after(() => session('item').first())), stream);
      },
    ],
  ];
  for (const [title, use] of streams) {
    it(`refuses a query that waits behind ${title}, if nothing moves for 30 s`, async () => {
      using timers = holdTimers(STREAM_STALL_MS);
      const ended = inTask(use).catch((error: unknown) => error);
      const stalled = (async () => {
        for (;;) (await timers.next())();
      })();
      expect(await Promise.race([ended, stalled])).to.include({ code: 'ETL-3543' });
    });
  }

  it('runs a query that waits behind a stream of the task as long as the stream moves', async () => {
    const n = await inTask(async (session) => {
      const stream = (await clientOf(session)).query(copyFrom('copy item from stdin'));
      const query = session('item').where('id', 1_000_000).first();
      const [found] = await Promise.all([query, pipeline(Readable.from(after(() => [])), stream)]);
      return found as { id: number };
    });
    expect(n).to.include({ id: 1_000_000 });
  });

  it('reads from another database with rows and copyTo', async () => {
    await using other = await createDatabase({ mayLeak: true });
    await other.query(`create table far as select i as id from generate_series(1, 3) i`);
    let bytes = '';
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('t', { reads: ['other'] }, async ({ sources: { other: far } }) => {
        for await (const part of far.copyTo({ table: 'far' })) bytes += part.toString();
        for await (const _ of far.copyTo({ table: 'far' })) break;
        return (await all(far.rows<{ id: number }>('select id from far'))).map(({ id }) => id);
      });
    });
    const { tasks, outcome } = await runOn({ db: db.url, other: other.url }, graph);
    expect(outcome('t'), tasks[0]?.error?.message).to.equal('success');
    expect(bytes).to.equal('1\n2\n3\n');
  });
});
