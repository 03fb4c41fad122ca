import type { ErrorFields, EtlError } from '../../errors.js';
import { buildErrorFields } from '../report/words.js';
import type { RunEvent } from '../report/event.js';
import type { AttemptRow } from '../ledger/attempt-row.js';
import { findDatabaseError } from '../postgres/sqlstate.js';

/** Collects the attempts that did not succeed from the events of a run. The rows are stored in the ledger. */
export class FailureLog {
  readonly rows: AttemptRow[] = [];
  readonly #redact: (text: string) => string;
  readonly #recordsRowData: boolean;
  readonly #startedAt = new Map<string, Date>();

  /** `redact` masks secrets in a text. The rows contain values of the user's rows only if `recordsRowData`. */
  constructor(redact: (text: string) => string, recordsRowData: boolean) {
    this.#redact = redact;
    this.#recordsRowData = recordsRowData;
  }

  /**
   * Takes the next event of the run. Adds a row for an attempt that will be retried, and for a task that has ended
   * without success. Ignores all other events.
   */
  add(event: RunEvent): void {
    if (event.type === 'task_started') this.#startedAt.set(event.taskId, event.at);
    if (event.type === 'task_retrying') {
      const { taskId, attempt, error } = event;
      this.#push(event.at, { taskId, attempt, state: 'up_for_retry', ...this.#getFields(error, undefined) });
    }
    if (event.type === 'task_finished' && event.state !== 'success') {
      const { taskId, attempts, state, error, reason } = event;
      this.#push(event.at, { taskId, attempt: attempts, state, ...this.#getFields(error, reason) });
    }
  }

  /** Adds the row of an attempt that ended `at` this time. A task that was not started also started `at` this time. */
  #push(at: Date, row: Omit<AttemptRow, 'startedAt' | 'finishedAt'>): void {
    this.rows.push({ ...row, startedAt: this.#startedAt.get(row.taskId) ?? at, finishedAt: at });
  }

  /** Returns the fields that describe the failure. They contain values of rows only in `rowData`. */
  #getFields(
    error: EtlError | undefined,
    reason: string | undefined,
  ): Pick<AttemptRow, 'code' | 'sqlstate' | 'message' | 'error' | 'rowData'> {
    const sqlstate = findDatabaseError(error)?.code;
    const message = error?.message ?? reason ?? '';
    const fields = { code: error?.code, sqlstate, message: this.#redact(message) };
    if (error === undefined) return fields;
    const rowData = this.#recordsRowData && error.rowData !== undefined ? error.rowData : undefined;
    return {
      ...fields,
      error: this.#redactAll(buildErrorFields(error)) as ErrorFields,
      rowData: rowData && this.#redact(rowData),
    };
  }

  /** Masks secrets in all texts of a JSON value, at any depth. */
  #redactAll(value: unknown): unknown {
    if (typeof value === 'string') return this.#redact(value);
    if (Array.isArray(value)) return value.map((each) => this.#redactAll(each));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, this.#redactAll(each)]));
  }
}
