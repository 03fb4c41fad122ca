import { EventEmitter } from 'node:events';
import type { Callback } from '../postgres/protocol.js';
import { type ClientTarget, TaskClient } from './task-client.js';

type ConnectCallback = (
  error: Error | undefined,
  client: TaskClient,
  release: (error?: unknown) => void,
) => void;

/**
 * The object `session.pg`: the methods of `pg.Pool`, on the one connection of the task. Each client of the pool sends
 * its queries to this connection, and has transactions of its own. `end` does nothing, because the runner ends the
 * connection.
 *
 * A library that makes a pool of its own, `new pg.Pool(session.pg)`, gets the same clients: `Client` is an option of
 * pg.Pool. So does a library that asks for `instanceof pg.Pool`, such as the adapter of Prisma, whatever copy of pg it
 * uses.
 */
export class TaskPool extends EventEmitter {
  /** Drizzle looks for "Pool" in the name of the class. The bundler changes names. */
  static override readonly name = 'TaskPool';

  /** The class of the clients, for a real pg.Pool. */
  readonly Client: new () => TaskClient;
  /** A real pg.Pool sets no timer for a client that is not used. */
  readonly idleTimeoutMillis = 0;
  readonly #target: ClientTarget;
  /** The client of `session.pg.query`. */
  readonly #own: TaskClient;
  #leased = 0;

  constructor(target: ClientTarget) {
    super();
    this.#target = target;
    this.#own = new TaskClient(target);
    this.Client = class extends TaskClient {
      constructor() {
        super(target);
      }
    };
  }

  /** The options of a pg.Pool with the same clients. */
  get options(): object {
    const { Client, idleTimeoutMillis } = this;
    const limits = { max: 10, maxUses: Infinity, maxLifetimeSeconds: 0, allowExitOnIdle: true };
    return { Client, idleTimeoutMillis, ...limits };
  }

  /** The number of clients that were not released yet. */
  get totalCount(): number {
    return this.#leased;
  }

  get idleCount(): number {
    return 0;
  }

  get waitingCount(): number {
    return 0;
  }

  get expiredCount(): number {
    return 0;
  }

  get ending(): boolean {
    return false;
  }

  get ended(): boolean {
    return false;
  }

  /** Sends a query, as `pg.Client.query`. BEGIN and COMMIT of several calls are one transaction, as on a client. */
  query(config: string | object, values?: unknown, callback?: Callback): unknown {
    return this.#own.query(config, values, callback);
  }

  /** Returns a client, or calls `callback` with it. Never waits: the queries of the client wait instead. */
  connect(callback?: ConnectCallback): Promise<TaskClient> | undefined {
    const client = this.#lease();
    if (callback === undefined) return Promise.resolve(client);
    queueMicrotask(() => callback(undefined, client, (error) => client.release(error)));
    return undefined;
  }

  /** Does nothing: the runner ends the connection, and the session can be used up to the end of the task. */
  end(callback?: () => void): Promise<void> | undefined {
    if (callback === undefined) return Promise.resolve();
    queueMicrotask(callback);
    return undefined;
  }

  #lease(): TaskClient {
    const client: TaskClient = new TaskClient(this.#target, (error) => {
      this.#leased--;
      this.emit('release', error, client);
    });
    this.#leased++;
    this.emit('connect', client);
    this.emit('acquire', client);
    return client;
  }
}
