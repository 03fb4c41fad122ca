import { EtlError, toError } from '../../errors.js';
import { cancelStatement } from '../../hooks/client.js';
import { formatDuration } from '../duration.js';
import type { ProtocolClient, TransactionId } from '../postgres/protocol.js';
import { stopTransaction } from '../postgres/transaction.js';
import { CLEAN_UP_MS, COMMIT_GRACE_MS, STOP_GRACE_MS, within } from '../waiting.js';

export interface AttemptStopOptions {
  readonly signal: AbortSignal;
  readonly client: ProtocolClient;
  /** Asks over another connection; undefined where there is none. */
  readonly ask: <T>(question: (control: ProtocolClient) => Promise<T>) => Promise<T | undefined>;
  /** Undefined until the claim has given the transaction its ID. */
  readonly transaction: () => TransactionId | undefined;
  readonly isCommitting: () => boolean;
}

/**
 * Ends an attempt when its signal aborts, whether the task plays along or not: cancels the statement, waits a moment,
 * then cuts the connection and terminates its backend.
 */
export class AttemptStop {
  /** Rejects with the signal's reason when the task did not come to its end in time. */
  readonly stopped: Promise<never>;
  readonly #options: AttemptStopOptions;
  #reject: (reason: Error) => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: AttemptStopOptions) {
    this.#options = options;
    this.stopped = new Promise<never>((_, reject) => (this.#reject = reject));
    // Whoever races against it sees the rejection; nobody may be racing when it comes.
    this.stopped.catch(() => undefined);
    if (options.signal.aborted) this.#onAbort();
    else options.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#options.signal.removeEventListener('abort', this.#onAbort);
  }

  /** Makes sure that the server has no such transaction any more. Best effort, within a bound; never throws. */
  async terminate(): Promise<void> {
    await this.#ask('pg_terminate_backend');
  }

  readonly #onAbort = (): void => {
    const committing = this.#options.isCommitting();
    this.#timer = setTimeout(() => this.#cut(), committing ? COMMIT_GRACE_MS : STOP_GRACE_MS);
    if (!committing) void this.#cancel();
  };

  /** Without a transaction it is the search for a bound that may be under way, which can take as long as any query. */
  async #cancel(): Promise<void> {
    const { client, transaction } = this.#options;
    if (transaction() === undefined) await cancelStatement(client, CLEAN_UP_MS);
    else await this.#ask('pg_cancel_backend');
  }

  #cut(): void {
    this.#options.client.connection.stream.destroy();
    this.#reject(toError(this.#options.signal.reason));
  }

  async #ask(action: 'pg_cancel_backend' | 'pg_terminate_backend'): Promise<void> {
    const transaction = this.#options.transaction();
    if (transaction === undefined) return;
    // When it can't be asked the connection is cut in any case; the server then ends the backend by itself.
    await within(
      this.#options.ask((control) => stopTransaction(control, action, transaction)),
      CLEAN_UP_MS,
    );
  }
}

/** Why an attempt is stopped that takes too long. */
export function createTaskTimeoutError(timeoutMs: number): EtlError {
  return new EtlError('ETL-3301', {
    what: `the task did not end within its timeout of ${formatDuration(timeoutMs)}`,
    fix: 'give it a longer `timeout`, or less to do',
  });
}
