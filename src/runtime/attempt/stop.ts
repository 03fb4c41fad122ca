import { EtlError, toError } from '../../errors.js';
import { cancelStatement } from '../../hooks/client.js';
import { formatDuration } from '../duration.js';
import type { ProtocolClient, TransactionId } from '../postgres/protocol.js';
import { stopTransaction } from '../postgres/transaction.js';
import { CLEAN_UP_MS, COMMIT_GRACE_MS, STOP_GRACE_MS, within } from '../waiting.js';

/** The attempt that `AttemptStop` stops. */
export interface AttemptStopOptions {
  /** Aborts with the reason when the attempt must stop. */
  readonly signal: AbortSignal;
  readonly client: ProtocolClient;
  /** Runs a query on another connection to the same server. Returns undefined if there is no other connection. */
  readonly ask: <T>(question: (control: ProtocolClient) => Promise<T>) => Promise<T | undefined>;
  /** Returns the ID of the transaction. Undefined until the transaction has begun. */
  readonly transaction: () => TransactionId | undefined;
  /** Returns true from the moment when the COMMIT is sent. */
  readonly isCommitting: () => boolean;
  /** Called when the signal aborts, before anything is cancelled. */
  readonly onStop: () => void;
}

/**
 * Ends an attempt when its signal aborts, even if the task ignores the signal. `AttemptStop` cancels the running
 * statement, waits `STOP_GRACE_MS`, and then destroys the connection. During a COMMIT nothing is cancelled, and the
 * wait is `COMMIT_GRACE_MS`.
 */
export class AttemptStop {
  /** Rejects with the reason of the signal when the connection is destroyed because the task did not end in time. */
  readonly stopped: Promise<never>;
  readonly #options: AttemptStopOptions;
  #reject: (reason: Error) => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: AttemptStopOptions) {
    this.#options = options;
    this.stopped = new Promise<never>((_, reject) => (this.#reject = reject));
    // Prevents an unhandled rejection if nobody awaits the promise when it rejects.
    this.stopped.catch(() => undefined);
    if (options.signal.aborted) this.#onAbort();
    else options.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Stops listening to the signal. */
  dispose(): void {
    clearTimeout(this.#timer);
    this.#options.signal.removeEventListener('abort', this.#onAbort);
  }

  /**
   * Terminates the backend of the transaction, within `CLEAN_UP_MS`. Never throws. If the terminate request fails,
   * the server ends the backend later, because the connection is destroyed.
   */
  async terminate(): Promise<void> {
    await this.#stopBackend('pg_terminate_backend');
  }

  /** Cancels the running statement, and limits the time until the connection is destroyed. `dispose` ends the limit. */
  readonly #onAbort = (): void => {
    this.#options.onStop();
    const isCommitting = this.#options.isCommitting();
    const graceMs = isCommitting ? COMMIT_GRACE_MS : STOP_GRACE_MS;
    this.#timer = setTimeout(() => this.#cutConnection(), graceMs);
    if (!isCommitting) void this.#cancel();
  };

  /**
   * Cancels the running statement. Before the transaction begins, there is no transaction ID to look for, so whatever
   * the connection runs is cancelled: it can be the search for the high watermark.
   */
  async #cancel(): Promise<void> {
    const { client, transaction } = this.#options;
    if (transaction() === undefined) await cancelStatement(client, CLEAN_UP_MS);
    else await this.#stopBackend('pg_cancel_backend');
  }

  /** Destroys the connection and rejects `stopped`. */
  #cutConnection(): void {
    this.#options.client.connection.stream.destroy();
    this.#reject(toError(this.#options.signal.reason));
  }

  /**
   * Cancels or terminates the backend of the transaction, within `CLEAN_UP_MS`. Does nothing if there is no
   * transaction.
   */
  async #stopBackend(action: 'pg_cancel_backend' | 'pg_terminate_backend'): Promise<void> {
    const transaction = this.#options.transaction();
    if (transaction === undefined) return;
    // Ignores an error: the connection is destroyed in any case, and the server then ends the backend itself.
    await within(
      this.#options.ask((control) => stopTransaction(control, action, transaction)),
      CLEAN_UP_MS,
    );
  }
}

/** Creates the error of an attempt that reached its timeout. */
export function createTaskTimeoutError(timeoutMs: number): EtlError {
  return new EtlError('ETL-3301', {
    what: `the task did not end within its timeout of ${formatDuration(timeoutMs)}`,
    fix: 'raise the option `timeout` of the task, or make its work faster',
  });
}
