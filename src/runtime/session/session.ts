import type { Knex } from 'knex';
import type { Pool, QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { getText, type Callback, type ProtocolClient } from '../postgres/protocol.js';
import { createBulkSession, type BulkSession } from './session-copy.js';
import { TaskPool } from './task-pool.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import type { Isolation } from '../postgres/transaction.js';

/**
 * A Knex handle bound to one open transaction: `session('table')`, `session.raw(…)`, `Model.query(session)`.
 * The runner commits the transaction when the task returns, and rolls the transaction back when the task throws. The
 * task itself can't commit or roll back.
 */
export interface Session extends Knex.Transaction, BulkSession {
  /** Throws ETL-3201: return from the task to commit. */
  readonly commit: never;
  /** Throws ETL-3201: throw from the task to roll back. */
  readonly rollback: never;
  /** Throws ETL-3201: the runner closes the connection. */
  readonly destroy: never;
  /**
   * Returns the model class bound to this transaction, for code that takes a class and calls `query()` on the class.
   */
  bind<M extends ModelClass>(model: M): M;
  /**
   * The connection of the transaction as a pool of `pg`, for Kysely, Drizzle, Prisma and other libraries on pg. The pool has
   * one connection, and `end()` does nothing. Transactions of the library are savepoints: its BEGIN and COMMIT never reach
   * the server.
   *
   * ```ts
   * const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: session.pg }) });
   * const db = drizzle(session.pg);
   * const prisma = new PrismaClient({ adapter: new PrismaPg(session.pg) });
   * const { rows } = await session.pg.query('select $1::int as n', [1]);
   * ```
   */
  readonly pg: Pool;
}

/** The part of an Objection model class that a session needs. A project need not install Objection for this type. */
interface ModelClass {
  bindKnex(knex: never): unknown;
}

/** The methods of a Knex transaction that a task can't call, and what the task does instead. */
const FORBIDDEN: Readonly<Record<string, string>> = {
  commit: 'return from the task to commit',
  rollback: 'throw from the task to roll back',
  destroy: 'leave out the call: the run closes its connections',
};

/**
 * A session that is prepared before its transaction begins, because Knex needs some time to create a transaction.
 * Knex's own BEGIN and COMMIT never reach the server: `knex.transaction` reports success for a transaction that
 * PostgreSQL rolled back (https://github.com/knex/knex/issues/6141).
 */
export class UnboundSession {
  readonly #connection = new KnexConnection();
  readonly #transaction: Promise<Knex.Transaction>;

  constructor(knex: Knex) {
    this.#transaction = knex.transaction(undefined, { connection: this.#connection });
  }

  /**
   * Returns the session on the transaction that is open on `taskConnection`. The session is the Knex transaction with
   * three changes: it has the methods of `BulkSession`, `bind` and `pg`, its `commit`, `rollback` and `destroy` throw, and its
   * queries go to `taskConnection`. Call `bind` only once.
   */
  async bind({ taskConnection, client, isolation }: OpenTransaction): Promise<Session> {
    this.#connection.taskConnection = taskConnection;
    const transaction = await this.#transaction;
    let pool: TaskPool | undefined;
    const added = {
      ...createBulkSession(taskConnection, client),
      bind: (model: ModelClass) => model.bindKnex(transaction as never),
      get pg() {
        return (pool ??= new TaskPool({ taskConnection, driver: client, isolation }));
      },
    };
    return new Proxy(transaction, {
      get: (target, name) => {
        if (Object.hasOwn(added, name)) return added[name as keyof typeof added];
        if (typeof name === 'string' && name in FORBIDDEN) return forbid(name);
        return Reflect.get(target, name, target) as unknown;
      },
    }) as Session;
  }
}

/** An open transaction, and the connection that it is on. */
export interface OpenTransaction {
  readonly taskConnection: TaskConnection;
  readonly client: ProtocolClient;
  readonly isolation: Isolation;
}

/** The object that Knex uses as the connection of its transaction. Passes queries to the task connection. */
class KnexConnection {
  taskConnection: TaskConnection | undefined;

  /**
   * Has the signature of `pg.Client.query`, in which `values` can be left out: then the second argument is the callback.
   * Answers Knex's own BEGIN without sending it, and passes every other query to the task connection.
   */
  query(config: unknown, values?: unknown, callback?: Callback): unknown {
    const done = typeof values === 'function' ? (values as Callback) : callback;
    const text = getText(config);
    if (text !== 'BEGIN;' || done === undefined) {
      this.#noteSavepoint(text);
      return this.taskConnection?.query(config, values, callback);
    }
    queueMicrotask(() => done(null, BEGUN));
    return undefined;
  }

  /** Takes note of a savepoint that Knex sets or ends for `session.transaction`. */
  #noteSavepoint(text: string): void {
    if (!text.includes('SAVEPOINT trx')) return;
    const [, command, name = ''] = KNEX_SAVEPOINT.exec(text) ?? [];
    if (command === '') this.taskConnection?.savepoints.add(name);
    else this.taskConnection?.savepoints.delete(name);
  }
}

/** Matches the texts that Knex sends for a savepoint: to set, to release or to roll back. */
const KNEX_SAVEPOINT = /^(|RELEASE |ROLLBACK TO )SAVEPOINT (trx\d+);?$/;

/** The answer of a server to BEGIN. */
const BEGUN = { command: 'BEGIN', rowCount: 0, oid: 0, fields: [], rows: [] } as QueryResult;

/** Returns a function that throws `EtlError` ETL-3201 for a call of `session.<name>()`. */
function forbid(name: string): () => never {
  return () => {
    throw new EtlError('ETL-3201', {
      what: `a task can't call session.${name}()`,
      why: 'the runner commits the transaction together with the record of the task in the ledger',
      fix: `${FORBIDDEN[name]}, and use session.transaction(…), a savepoint, for a part that may fail alone`,
    });
  };
}
