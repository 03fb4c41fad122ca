import type { Knex } from 'knex';
import type { QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { getText, type Callback, type ProtocolClient } from '../postgres/protocol.js';
import { createBulkSession, type BulkSession } from './session-copy.js';
import type { TaskConnection } from '../postgres/task-connection.js';

/**
 * A Knex handle bound to one open transaction: `session('table')`, `session.raw(…)`, `Model.query(session)`.
 * The runner commits it after the task returns and rolls it back when the task throws; a task can do neither.
 */
export interface Session extends Knex.Transaction, BulkSession {
  /** The runner commits: return from the task. */
  readonly commit: never;
  /** The runner rolls back: throw from the task. */
  readonly rollback: never;
  /** The runner closes the connection. */
  readonly destroy: never;
  /** The model class bound to this transaction, for code that takes a class and calls `query()` on it. */
  bind<M extends ModelClass>(model: M): M;
}

/** What a session needs of an Objection model class. It has no type of Objection, which a project need not install. */
interface ModelClass {
  bindKnex(knex: never): unknown;
}

const FORBIDDEN: Readonly<Record<string, string>> = {
  commit: 'return from the task to commit',
  rollback: 'throw from the task to roll back',
  destroy: 'the run closes its connections itself',
};

/** Opens a session on the transaction that `wire` already holds. */
export function openSession(
  knex: Knex,
  taskConnection: TaskConnection,
  client: ProtocolClient,
): Promise<Session> {
  return new UnboundSession(knex).bind(taskConnection, client);
}

/**
 * A session without a transaction yet: Knex takes a while to make one. It believes that it began a transaction; its own
 * BEGIN and COMMIT never reach the server, because `knex.transaction` reports success for a transaction that PostgreSQL
 * rolled back (https://github.com/knex/knex/issues/6141).
 */
export class UnboundSession {
  readonly #connection = new KnexConnection();
  readonly #transaction: Promise<Knex.Transaction>;

  constructor(knex: Knex) {
    this.#transaction = knex.transaction(undefined, { connection: this.#connection });
  }

  /** The session on the transaction that `wire` already holds. Once only. */
  async bind(taskConnection: TaskConnection, client: ProtocolClient): Promise<Session> {
    this.#connection.taskConnection = taskConnection;
    const transaction = await this.#transaction;
    const own = {
      ...createBulkSession(taskConnection, client),
      bind: (model: ModelClass) => model.bindKnex(transaction as never),
    };
    return new Proxy(transaction, {
      get: (target, name) => {
        if (Object.hasOwn(own, name)) return own[name as keyof typeof own];
        if (typeof name === 'string' && name in FORBIDDEN) return forbid(name);
        return Reflect.get(target, name, target) as unknown;
      },
    }) as Session;
  }
}

/** What Knex takes for the connection of its transaction. */
class KnexConnection {
  taskConnection: TaskConnection | undefined;

  /** The signature of `pg.Client.query`. */
  query(config: unknown, values?: unknown, callback?: Callback): unknown {
    const given = typeof values === 'function' ? (values as Callback) : callback;
    if (getText(config) !== 'BEGIN;' || given === undefined)
      return this.taskConnection?.query(config, values, callback);
    queueMicrotask(() => given(null, BEGUN));
    return undefined;
  }
}

const BEGUN = { command: 'BEGIN', rowCount: 0, oid: 0, fields: [], rows: [] } as QueryResult;

function forbid(name: string): () => never {
  return () => {
    throw new EtlError('ETL-3201', {
      what: `session.${name}() is not for a task to call`,
      why: 'the runner commits the task together with the record that it ran',
      fix: `${FORBIDDEN[name]}; for a part that may fail alone use session.transaction(…), a savepoint`,
    });
  };
}
