import { TRANSACTION_STALL_MS } from '../waiting.js';
import type { QueuedQuery } from './queued-query.js';

/**
 * Reserves a task connection for one client of `session.pg` while the client has a transaction open. The queries of the
 * other clients wait: inside the transaction, a rollback would undo them although they succeeded. Queries of the session
 * itself have no client, and do not wait.
 */
export class Reservation {
  #holder: object | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** True while a client has a transaction open. */
  get isHeld(): boolean {
    return this.#holder !== undefined;
  }

  /** Returns true if the query need not wait. */
  allows({ client }: QueuedQuery): boolean {
    return this.#holder === undefined || client === undefined || client === this.#holder;
  }

  /** Takes note that a query is sent. A query that begins a transaction reserves the connection for its client. */
  onSend(query: QueuedQuery): void {
    this.stopWatch();
    if (query.isBegin) this.#holder = query.client;
  }

  /** Ends the reservation for a client. Does nothing if the connection is not reserved for the client. */
  end(client: object): void {
    if (this.#holder === client) this.#holder = undefined;
  }

  /**
   * Calls `onStall` if no query is sent for `TRANSACTION_STALL_MS`. Call this function when all queries that are left
   * wait: possibly the code of the open transaction waits for one of them.
   */
  watch(onStall: () => void): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      onStall();
    }, TRANSACTION_STALL_MS);
  }

  /** Ends the watch. */
  stopWatch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
