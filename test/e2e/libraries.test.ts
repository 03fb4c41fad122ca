import { expect } from 'chai';
import { join } from 'node:path';
import { createProject, ROOT } from '../support/cli.js';
import { createDatabase } from '../support/database.js';

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  import { PrismaPg } from '@prisma/adapter-pg';
  import { drizzle } from 'drizzle-orm/node-postgres';
  import { integer, pgTable } from 'drizzle-orm/pg-core';
  import { Kysely, PostgresDialect } from 'kysely';
  import { PrismaClient } from ${JSON.stringify(join(ROOT, 'test/fixtures/prisma/client/client.ts'))};

  const u = pgTable('u', { id: integer().primaryKey() });

  export default defineConfig({
    dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('all', {}, async ({ session }) => {
        const kysely = new Kysely<{ u: { id: number } }>({ dialect: new PostgresDialect({ pool: session.pg }) });
        const prisma = new PrismaClient({ adapter: new PrismaPg(session.pg) });
        const adds = {
          kysely: (n: number, fails: boolean) => kysely.transaction().execute(async (trx) => {
            await trx.insertInto('u').values({ id: n }).execute();
            if (fails) throw new Error('undo');
          }),
          drizzle: (n: number, fails: boolean) => drizzle(session.pg).transaction(async (tx) => {
            await tx.insert(u).values({ id: n });
            if (fails) throw new Error('undo');
          }),
          prisma: (n: number, fails: boolean) => prisma.$transaction(async (tx) => {
            await tx.u.create({ data: { id: n } });
            if (fails) throw new Error('undo');
          }),
        };
        const all = Object.values(adds).flatMap((add, i) => [add(10 * i, false), add(10 * i + 1, true), add(10 * i + 2, false)]);
        await Promise.allSettled(all);
        const { rows } = await session.raw('select id from u order by id');
        await kysely.destroy();
        await prisma.$disconnect();
        if (process.env['FAILS']) throw new Error('undo all');
        return rows.map(({ id }: { id: number }) => id);
      });
    })],
  });`;

describe('the program with Kysely, Drizzle and Prisma in a project', () => {
  it('runs their transactions in the transaction of the task, and commits or undoes all of them', async () => {
    await using db = await createDatabase();
    await db.query('create table u (id int primary key)');
    await using project = await createProject({ 'etl.config.ts': CONFIG });
    const failed = await project.cli(['run', 'd'], { ETL_CONN_DB: db.url, FAILS: '1' });
    expect(failed.code, failed.stderr).to.equal(1);
    expect(failed.stderr).to.include('undo all');
    expect(await db.query('select id from u')).to.deep.equal([]);
    const { code, stderr } = await project.cli(['run', 'd'], { ETL_CONN_DB: db.url });
    expect(code, stderr).to.equal(0);
    const ids = [0, 2, 10, 12, 20, 22];
    expect(await db.query('select id from u order by id')).to.deep.equal(ids.map((id) => ({ id })));
    expect(await db.query('select result from etl.task order by committed_at desc limit 1')).to.deep.equal([
      { result: ids },
    ]);
  });
});
