import { expect } from 'chai';
import { Model } from 'objection';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { SessionContext } from '../../../src/runtime/tasks/task-context.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

class Item extends Model {
  static override tableName = 'item';
}

/** The line after the last call of `here`. */
let line = 0;

/** Remembers the line after the line that calls it. */
function here(): void {
  line = 1 + Number(/:(\d+):\d+\)?$/m.exec(new Error('here').stack?.split('\n')[2] ?? '')?.[1]);
}

/** The ways in which the code of a task sends the statement that fails. */
const WAYS: Readonly<Record<string, (context: SessionContext) => Promise<unknown>>> = {
  'a builder': async ({ session }) => {
    await session('item').insert({ id: 1 });
    here();
    await session('item').insert({ id: 1 });
  },
  'raw SQL': async ({ session }) => {
    here();
    await session.raw('insert into item values (?), (?)', [7, 7]);
  },
  'a model': async ({ session }) => {
    here();
    await Item.query(session).insert([{ id: 3 }, { id: 3 }] as never);
  },
  'a bound model': async ({ session }) => {
    const query = session.bind(Item).query();
    here();
    await query.insert([{ id: 3 }, { id: 3 }] as never);
  },
  'Promise.all': async ({ session }) => {
    const both = [session.raw('select 1'), session.raw('insert into item values (1), (1)')];
    here();
    await Promise.all(both);
  },
  'a savepoint': async ({ session }) => {
    await session.transaction(async (part) => {
      here();
      await part('item').insert([{ id: 1 }, { id: 1 }]);
    });
  },
  'a function in a function': async ({ session }) => {
    const save = async (id: number) => {
      here();
      await session.raw('insert into item values (?), (?)', [id, id]);
    };
    await Promise.all([save(1), session.raw('select 1')]);
  },
  'an error with other words around it': async ({ session }) => {
    try {
      here();
      await session.raw('insert into item values (8), (8)');
    } catch (cause) {
      throw new Error('item 8 is broken', { cause });
    }
  },
  'a swallowed error': async ({ session }) => {
    await insertTwice(session).catch(() => undefined);
  },
};

async function insertTwice(session: SessionContext['session']): Promise<void> {
  here();
  await session.raw('insert into item values (9), (9)');
}

describe('the location of an error of the server', () => {
  let db: TestDatabase;
  let other: TestDatabase;
  before(async () => {
    [db, other] = await Promise.all([createDatabase(), createDatabase()]);
    for (const each of [db, other]) await each.query('create table item (id int primary key)');
  });
  after(() => Promise.all([db.drop(), other.drop()]));

  /** Runs one session task, and returns the parts of its error. */
  async function fail(body: (context: SessionContext) => Promise<unknown>, options: object = {}) {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.session('s', options, body as never));
    const run = await runOn({ db: db.url, other: other.url }, graph);
    const error = run.tasks[0]?.error;
    const { message = '', where = '', why, fix, rowData, cause } = error ?? {};
    return { message, where, why, fix, rowData, cause };
  }

  for (const [way, body] of Object.entries(WAYS)) {
    it(`is the line of the user's code and the statement, sent by ${way}`, async () => {
      const { where, rowData, why } = await fail(body);
      expect(where).to.include(`statement sent at test/runtime/attempt/failure-location.test.ts:${line}:`);
      expect(where).to.match(/\n(insert into "?item"? .*)$/);
      expect(where.split('\n').at(-1)).to.not.match(/[^$]\d\)/);
      expect(why).to.include('SQLSTATE 23505, unique violation');
      expect(rowData).to.match(/detail: Key \(id\)=\(\d\) already exists/);
    });
  }

  it('is the statement in a text of several statements', async () => {
    const inserts = Array.from(
      { length: 20 },
      (_, i) => `insert into item values (${i === 13 ? 2 : i}) /* no ; here */;`,
    );
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('s', { sql: inserts.join('\n') }));
    const run = await runOn({ db: db.url }, graph);
    expect(run.tasks[0]?.error?.where).to.include('\nstatement 14 of 20: insert into item values (…)');
  });

  it('is the connection, if the Dag has several', async () => {
    const { where } = await fail(
      async ({ sources }) => {
        const { other: session } = sources as Record<string, SessionContext['session']>;
        here();
        await session?.raw('select no_column from item');
      },
      { reads: ['other'] },
    );
    const [, connection, sent, sql] = where.split('\n');
    expect(connection).to.equal('connection "other"');
    expect(sent).to.include(`failure-location.test.ts:${line}:`);
    expect(sql).to.equal('select no_column from item');
    const own = await fail(async ({ session }) => void (await session.raw('select 1/0')), {
      reads: ['other'],
    });
    expect(own.where).to.include('\nconnection "db"\n');
  });

  it('is the statement that was running when a task timed out, with the line of the code', async () => {
    const { where } = await fail(
      async ({ session }) => {
        await session.raw('select 1');
        here();
        await session.raw(`select pg_sleep(60), 'SECRET'`);
      },
      { timeout: 400 },
    );
    expect(where).to.include(
      `the server cancelled this statement, sent at test/runtime/attempt/failure-location.test.ts:${line}:`,
    );
    expect(where).to.match(/select pg_sleep\(…\), '…'$/);
  });

  it('is the statement on a connection that the task only reads, when the task timed out', async () => {
    const { where } = await fail(
      async ({ sources }) => {
        await (sources as Record<string, SessionContext['session']>)['other']?.raw('select pg_sleep(60)');
      },
      { timeout: 400, reads: ['other'] },
    );
    expect(where).to.match(
      /\nconnection "other"\nthe server (?:was running|cancelled) this statement.*:\nselect pg_sleep/,
    );
  });

  it('says that no statement was running when a task timed out in its own code', async () => {
    const { where } = await fail(() => new Promise(() => undefined), { timeout: 200 });
    expect(where).to.include('no statement was running');
  });

  it('contains the words of the user, and the message of the server as the cause', async () => {
    const { message, cause } = await fail(WAYS['an error with other words around it'] as never);
    expect(message).to.equal('item 8 is broken');
    expect(cause).to.be.an('error').with.property('cause');
  });

  it('has the functions on the server', async () => {
    await db.query(`create function refuse() returns trigger language plpgsql as
      $$ begin raise exception 'no' using detail = 'SECRET', hint = 'ask'; end $$`);
    await db.query(
      'create table guarded (id int); create trigger t before insert on guarded execute function refuse()',
    );
    const { where, why, fix, rowData } = await fail(
      async ({ session }) => void (await session('guarded').insert({ id: 1 })),
    );
    expect(where).to.match(/PL\/pgSQL function refuse\(\) line 1 at RAISE$/);
    expect({ why, fix }).to.deep.equal({ why: 'SQLSTATE P0001, raised by a function', fix: 'ask' });
    expect(rowData).to.include('detail: SECRET');
  });
});
