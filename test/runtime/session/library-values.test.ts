import { PrismaPg } from '@prisma/adapter-pg';
import { expect } from 'chai';
import { drizzle } from 'drizzle-orm/node-postgres';
import {
  bigint,
  boolean,
  customType,
  date,
  doublePrecision,
  integer,
  jsonb,
  numeric,
  pgTable,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core';
import { Kysely, PostgresDialect } from 'kysely';
import { PrismaClient } from '../../fixtures/prisma/client/client.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { Session } from '../../../src/runtime/session/session.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

/** A row whose values each library takes. */
const ROW = {
  flag: true,
  small: -7,
  big: 9_007_199_254_740_993n,
  amount: '12345678901234567890.12345',
  ratio: 0.1,
  label: `it's "é😀" \\ \n`.repeat(20_000),
  uid: '00000000-0000-0000-0000-00000000000a',
  bytes: Buffer.alloc(1_000_000, 'ab\0\xff', 'latin1'),
  at: new Date('2020-01-02T03:04:05.678Z'),
  list: [1, 2, 3],
};
const DOC = { a: [1, null, 'é😀'], b: { c: true } };
const DAY = '2020-01-02';
const TEXTS = { ...ROW, doc: JSON.stringify(DOC), day: DAY };

const KIND = pgTable('kind', {
  id: integer().primaryKey(),
  flag: boolean(),
  small: integer(),
  big: bigint({ mode: 'bigint' }),
  amount: numeric(),
  ratio: doublePrecision(),
  label: text(),
  uid: uuid(),
  doc: jsonb(),
  bytes: customType<{ data: Buffer }>({ dataType: () => 'bytea' })(),
  at: timestamp({ withTimezone: true, precision: 6 }),
  day: date(),
  list: integer().array(),
});

/** Inserts the row with this ID by each library. */
const INSERTS: Readonly<Record<string, (session: Session, id: number) => PromiseLike<unknown>>> = {
  pg: ({ pg }, id) => {
    const names = Object.keys(TEXTS);
    const numbers = names.map((_, index) => `$${index + 2}`);
    const sql = `insert into kind (id, ${names.join()}) values ($1, ${numbers.join()})`;
    return pg.query(sql, [id, ...Object.values(TEXTS)]);
  },
  Kysely: ({ pg }, id) =>
    new Kysely<{ kind: object }>({ dialect: new PostgresDialect({ pool: pg }) })
      .insertInto('kind')
      .values({ id, ...TEXTS })
      .execute(),
  Drizzle: ({ pg }, id) =>
    drizzle(pg)
      .insert(KIND)
      .values({ id, ...ROW, doc: DOC, day: DAY }),
  Prisma: ({ pg }, id) =>
    new PrismaClient({ adapter: new PrismaPg(pg) }).kind.create({
      data: { id, ...ROW, doc: DOC, day: new Date(DAY) },
    }),
};

describe('a library on session.pg', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query(`create table kind (id int primary key, flag boolean, small int, big bigint, amount numeric,
      ratio float8, label text, uid uuid, doc jsonb, bytes bytea, at timestamptz(6), day date, list int[])`);
  });
  after(() => db.drop());

  for (const [name, insert] of Object.entries(INSERTS))
    it(`stores the values that Knex stores: ${name}`, async () => {
      await db.query('truncate kind');
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.session('w', {}, async ({ session }) => {
          await session('kind').insert({ id: 1, ...TEXTS });
          await insert(session, 2);
        });
      });
      const { tasks } = await runOn({ db: db.url }, graph);
      expect(tasks[0]?.error?.message).to.equal(undefined);
      const [knex, own] =
        await db.query(`select flag, small, big, amount, ratio, md5(label) as label, uid, doc,
        md5(bytes) as bytes, at::text, day::text, list from kind order by id`);
      expect(own).to.deep.equal(knex);
    });
});
