import { PrismaPg } from '@prisma/adapter-pg';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { integer, pgTable, serial, text } from 'drizzle-orm/pg-core';
import { sql as drizzleSql } from 'drizzle-orm';
import { type Generated, Kysely, PostgresDialect, sql as kyselySql } from 'kysely';
import type { Pool } from 'pg';
import { PrismaClient } from '../../fixtures/prisma/client/client.js';
import type { Session } from '../../../src/runtime/session/session.js';

/** A row of the tables of the endings. */
export type InsertedRow = Readonly<Record<string, string | number>>;

/** The part of Knex's interface that the endings use, over another library. */
export interface Queries {
  insert(table: TableName, row: InsertedRow): PromiseLike<unknown>;
  /** Runs SQL as a text, and returns the rows. */
  raw(sql: string): PromiseLike<readonly Record<string, unknown>[]>;
  /** Runs `body` in a transaction of the library. */
  transaction<T>(body: (part: Queries) => Promise<T>): Promise<T>;
}

export type TableName = 't' | 'u' | 'child';

/** A library that runs on a pool of pg. */
export interface Library {
  readonly name: 'pg' | 'Kysely' | 'Drizzle' | 'Prisma';
  open(pool: Pool): Queries;
}

interface Tables {
  readonly t: { readonly v: string | null; readonly id: Generated<number> };
  readonly u: { readonly id: number };
  readonly child: { readonly pid: number | null; readonly id: Generated<number> };
}

function overKysely(db: Kysely<Tables>): Queries {
  return {
    insert: (table, row) =>
      db
        .insertInto(table)
        .values(row as never)
        .execute(),
    raw: async (sql) => (await kyselySql.raw<Record<string, unknown>>(sql).execute(db)).rows,
    transaction: (body) => db.transaction().execute((trx) => body(overKysely(trx))),
  };
}

const DRIZZLE_TABLES = {
  t: pgTable('t', { v: text(), id: serial().primaryKey() }),
  u: pgTable('u', { id: integer().primaryKey() }),
  child: pgTable('child', { pid: integer(), id: serial().primaryKey() }),
};

function overDrizzle(db: NodePgDatabase): Queries {
  return {
    insert: (table, row) => db.insert(DRIZZLE_TABLES[table]).values(row as never),
    raw: async (sql) => (await db.execute(drizzleSql.raw(sql))).rows,
    transaction: (body) => db.transaction((tx) => body(overDrizzle(tx as unknown as NodePgDatabase))),
  };
}

type PrismaQueries = Pick<PrismaClient, 't' | 'u' | 'child' | '$queryRawUnsafe' | '$transaction'>;

function overPrisma(db: PrismaQueries): Queries {
  return {
    insert: (table, data) => (db[table] as PrismaClient['t']).create({ data }),
    raw: (sql) => db.$queryRawUnsafe(sql),
    transaction: (body) => db.$transaction((tx) => body(overPrisma(tx as unknown as PrismaQueries))),
  };
}

/** `pg` itself, as code without a library uses it. */
function overPg(pool: Pick<Pool, 'query'>, connect?: Pool['connect']): Queries {
  return {
    insert: (table, row) => {
      const names = Object.keys(row);
      const numbers = names.map((_, index) => `$${index + 1}`);
      return pool.query(
        `insert into ${table} (${names.join()}) values (${numbers.join()})`,
        Object.values(row),
      );
    },
    raw: async (sql) => (await pool.query<Record<string, unknown>>(sql)).rows,
    transaction: async (body) => {
      const client = (await connect?.()) ?? { query: pool.query.bind(pool), release: () => undefined };
      try {
        await client.query('BEGIN');
        const result = await body(overPg(client));
        await client.query('COMMIT');
        return result;
      } catch (error) {
        await client.query('ROLLBACK');
        throw error;
      } finally {
        client.release();
      }
    },
  };
}

/** The libraries that the tests run on `session.pg`. None of these calls has a cast: the types of the pool fit. */
export const LIBRARIES: readonly Library[] = [
  { name: 'pg', open: (pool) => overPg(pool, () => pool.connect()) },
  {
    name: 'Kysely',
    open: (pool) => overKysely(new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })),
  },
  { name: 'Drizzle', open: (pool) => overDrizzle(drizzle(pool)) },
  { name: 'Prisma', open: (pool) => overPrisma(new PrismaClient({ adapter: new PrismaPg(pool) })) },
];

/**
 * Returns an object for the endings of `session-endings.ts`, which are written for Knex: the calls `session(table).insert`,
 * `session.raw` and `session.transaction` run by the library.
 */
export function toSession(queries: Queries): Session {
  const table = (name: TableName) => ({ insert: (row: InsertedRow) => queries.insert(name, row) });
  return Object.assign(table, {
    raw: async (sql: string) => ({ rows: await queries.raw(sql) }),
    transaction: (body: (part: Session) => Promise<unknown>) =>
      queries.transaction((part) => body(toSession(part))),
  }) as unknown as Session;
}
