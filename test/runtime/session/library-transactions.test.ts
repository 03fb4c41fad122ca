import { expect } from 'chai';
import { drizzle } from 'drizzle-orm/node-postgres';
import { sql as drizzleSql } from 'drizzle-orm';
import { Kysely, PostgresDialect, sql as kyselySql } from 'kysely';
import { PrismaPg } from '@prisma/adapter-pg';
import type { Pool } from 'pg';
import { PrismaClient } from '../../fixtures/prisma/client/client.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { Isolation } from '../../../src/runtime/postgres/transaction.js';
import type { Session } from '../../../src/runtime/session/session.js';
import { TRANSACTION_STALL_MS } from '../../../src/runtime/waiting.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { holdTimers } from '../../support/held-timers.js';
import { recordingProxy } from '../../support/recording-proxy.js';
import { runOn, type FinishedRun } from '../../support/run.js';
import { LIBRARIES, type Library, type Queries } from './libraries.js';
import { ENDING_TABLES } from './session-endings.js';

type Body = (queries: Queries, session: Session) => Promise<unknown>;

/** The function that runs a transaction with an isolation level and an access mode. */
type Begin = (pool: Pool, level: string, access?: string) => Promise<unknown>;

/** The call with which each library begins a transaction with an isolation level. Prisma has no access mode. */
const BEGINS: Readonly<Record<Library['name'], Begin>> = {
  pg: async (pool, level, access = 'read write') => {
    await pool.query(`begin transaction isolation level ${level}, ${access}`);
    await pool.query(`insert into t values ('x')`);
    await pool.query('commit');
  },
  Kysely: (pool, level, access = 'read write') =>
    new Kysely({ dialect: new PostgresDialect({ pool }) })
      .transaction()
      .setIsolationLevel(level as 'serializable')
      .setAccessMode(access as 'read write')
      .execute((trx) => kyselySql`insert into t values ('x')`.execute(trx)),
  Drizzle: (pool, isolationLevel, accessMode = 'read write') =>
    drizzle(pool).transaction((tx) => tx.execute(drizzleSql`insert into t values ('x')`), {
      isolationLevel,
      accessMode,
    } as object),
  Prisma: (pool, level) =>
    new PrismaClient({ adapter: new PrismaPg(pool) }).$transaction(
      (tx) => tx.t.create({ data: { v: 'x' } }),
      {
        isolationLevel: level.replaceAll(/(?:^| )(\w)/g, (_, letter: string) =>
          letter.toUpperCase(),
        ) as 'Serializable',
      },
    ),
};

describe('a transaction of a library on session.pg', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query(ENDING_TABLES);
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate t, u, child, parent'));

  /** Runs `body` as the task `w`. */
  async function run(
    library: Library,
    body: Body,
    isolation: Isolation = 'repeatable read',
  ): Promise<FinishedRun> {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('w', { isolation }, async ({ session }) => {
        await body(library.open(session.pg), session);
      });
    });
    return runOn({ db: db.url }, graph);
  }
  const rows = async (): Promise<unknown[]> =>
    (await db.query<{ v: string }>('select v from t order by id')).map(({ v }) => v);

  for (const library of LIBRARIES) {
    describe(`with ${library.name}`, () => {
      it('never sends BEGIN, COMMIT or ROLLBACK to the server', async () => {
        await using proxy = await recordingProxy(Number(new URL(db.url).port));
        const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
          d.session('w', {}, async ({ session }) => {
            const queries = library.open(session.pg);
            await queries.transaction((part) => Promise.resolve(part.insert('t', { v: 'kept' })));
            await queries
              .transaction(async (part) => {
                await part.insert('t', { v: 'undone' });
                throw new Error('undo');
              })
              .catch(() => undefined);
          });
        });
        const { tasks } = await runOn({ db: proxy.url(db.url) }, graph);
        expect(tasks[0]?.error).to.equal(undefined);
        const sent = [...proxy.statements].map((text) => text.toLowerCase().replaceAll(/\d+/g, 'N'));
        const inside = sent.slice(
          sent.indexOf('savepoint etl_N'),
          sent.lastIndexOf('release savepoint etl_N') + 1,
        );
        expect(
          inside.filter((text) => /^(?:begin|start|commit|end|abort|rollback(?! to))\b/.test(text)),
        ).to.deep.equal([]);
        expect(inside).to.include.members([
          'savepoint etl_N',
          'release savepoint etl_N',
          'rollback to savepoint etl_N',
        ]);
        expect(await rows()).to.deep.equal(['kept']);
      });

      it('is undone alone if its function throws, and the task goes on', async () => {
        const { tasks } = await run(library, async (queries) => {
          await queries.insert('t', { v: 'before' });
          const failed = queries.transaction(async (part) => {
            await part.insert('t', { v: 'inside' });
            await part.insert('u', { id: 1 });
            await part.insert('u', { id: 1 });
          });
          await failed.catch(() => undefined);
          await queries.insert('t', { v: 'after' });
        });
        expect(tasks[0]?.error).to.equal(undefined);
        expect(await rows()).to.deep.equal(['before', 'after']);
        expect(await db.query('select id from u')).to.deep.equal([]);
      });

      it('is undone with its task if the task throws later', async () => {
        const { tasks } = await run(library, async (queries) => {
          await queries.transaction((part) => Promise.resolve(part.insert('t', { v: 'inside' })));
          throw new Error('later');
        });
        expect(tasks[0]?.error).to.include({ code: 'ETL-3001', message: 'later' });
        expect(await rows()).to.deep.equal([]);
      });

      it('fails the task with the first error if its function swallows the error of a statement', async () => {
        const finished = await run(library, (queries) =>
          queries.transaction(async (part) => {
            await part.insert('t', { v: 'inside' });
            await Promise.resolve(part.raw('select 1/0')).catch(() => undefined);
          }),
        );
        expect(finished.outcome('w')).to.equal('failed ETL-3203');
        expect(finished.tasks[0]?.error?.message).to.include('division by zero');
        expect(await rows()).to.deep.equal([]);
      });

      it('does not commit a part of a transaction whose COMMIT failed, even if the task goes on', async () => {
        const { tasks } = await run(library, async (queries) => {
          const failed = queries.transaction(async (part) => {
            await part.insert('t', { v: 'inside' });
            await Promise.resolve(part.raw('select 1/0')).catch(() => undefined);
          });
          await failed.catch(() => undefined);
          await queries.insert('t', { v: 'after' });
        });
        expect(tasks[0]?.error).to.equal(undefined);
        expect(await rows()).to.deep.equal(['after']);
      });

      it('runs one after the other with others that are started together, and only one is undone', async () => {
        const { tasks } = await run(library, async (queries) => {
          const names = ['a', 'b', 'c', 'd'];
          const all = names.map((v) =>
            queries.transaction(async (part) => {
              await part.insert('t', { v });
              const [{ n } = { n: 0 }] = await part.raw('select count(*)::int as n from u');
              await part.insert('u', { id: Number(n) });
              if (v === 'b') throw new Error('undo');
            }),
          );
          await Promise.allSettled(all);
        });
        expect(tasks[0]?.error).to.equal(undefined);
        expect(await rows()).to.deep.equal(['a', 'c', 'd']);
        expect(await db.query('select id from u order by id')).to.deep.equal([
          { id: 0 },
          { id: 1 },
          { id: 2 },
        ]);
      });

      it('keeps a query that is started beside it out of its rollback', async () => {
        const { tasks } = await run(library, async (queries) => {
          const undone = queries.transaction(async (part) => {
            await part.insert('t', { v: 'undone' });
            await part.raw('select 1 as n');
            throw new Error('undo');
          });
          const beside = Promise.all([1, 2, 3].map((n) => queries.insert('t', { v: `beside ${n}` })));
          await Promise.allSettled([undone, beside]);
        });
        expect(tasks[0]?.error).to.equal(undefined);
        expect(await rows()).to.have.members(['beside 1', 'beside 2', 'beside 3']);
      });

      it('refuses a query outside of it that it waits for, and says to use its own object', async () => {
        using timers = holdTimers(TRANSACTION_STALL_MS);
        const running = run(library, (queries) =>
          queries.transaction(async () => void (await queries.insert('t', { v: 'outside' }))),
        );
        (await timers.next())();
        const finished = await running;
        expect(finished.outcome('w')).to.equal('failed ETL-3210');
        expect(finished.tasks[0]?.error?.fix).to.include(
          'by the object that the library gives to your function',
        );
        expect(await rows()).to.deep.equal([]);
        expect(await db.leftSessions()).to.deep.equal([]);
      });

      it('fails the task that returns before it ends', async () => {
        const finished = await run(library, async (queries) => {
          const waits = new Promise(() => undefined);
          await new Promise<void>((resolve) => {
            const left = queries.transaction(async (part) => {
              await part.insert('t', { v: 'inside' });
              resolve();
              await waits;
            });
            left.catch(() => undefined);
          });
        });
        expect(finished.outcome('w')).to.equal('failed ETL-3211');
        expect(await rows()).to.deep.equal([]);
      });

      for (const level of ['read committed', 'repeatable read'])
        it(`may ask for ${level} in a task with repeatable read`, async () => {
          const { tasks } = await run(library, (_, session) => BEGINS[library.name](session.pg, level));
          expect(tasks[0]?.error).to.equal(undefined);
          expect(await rows()).to.deep.equal(['x']);
        });

      it('may ask for serializable only in a task with serializable', async () => {
        const body: Body = (_, session) => BEGINS[library.name](session.pg, 'serializable');
        const refused = await run(library, body);
        expect(refused.outcome('w')).to.equal('failed ETL-3209');
        expect(refused.tasks[0]?.error?.fix).to.equal("give the task the option `isolation: 'serializable'`");
        expect(await rows()).to.deep.equal([]);
        const { tasks } = await run(library, body, 'serializable');
        expect(tasks[0]?.error).to.equal(undefined);
        expect(await rows()).to.deep.equal(['x']);
      });

      if (library.name !== 'Prisma')
        it('is read only if it asks for it, and the task can write afterwards', async () => {
          const { tasks } = await run(library, async (queries, session) => {
            const error = await BEGINS[library.name](session.pg, 'repeatable read', 'read only').then(
              () => undefined,
              (thrown: unknown) => thrown as { code?: string; cause?: { code?: string } },
            );
            expect(error?.code ?? error?.cause?.code).to.equal('25006');
            if (library.name === 'pg') await session.pg.query('rollback');
            await queries.insert('t', { v: 'after' });
          });
          expect(tasks[0]?.error).to.equal(undefined);
          expect(await rows()).to.deep.equal(['after']);
        });
    });
  }
});
