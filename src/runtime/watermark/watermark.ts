import { EtlError } from '../../errors.js';
import { showValue } from '../json.js';
import {
  readWatermarks,
  writeWatermarks,
  type GivenWatermark,
  type WatermarkRow,
} from '../ledger/watermark-row.js';
import type { TaskConnection } from '../postgres/task-connection.js';

/** The last value that a task has committed under one name, and the next one. */
export interface Watermark {
  /** What the last committed attempt has set; undefined when none has, and in a full refresh. */
  readonly value: string | undefined;
  /**
   * Sets the value that is committed together with the task's data; the last call counts, and a task that fails sets
   * nothing. SQL text, such as `max(updated_at)::text`: a `Date` has no microseconds, and rows would be read twice or
   * never.
   */
  set(value: string): void;
}

/** The run that a task's watermarks are read and written in: the part of `TaskRun` that they need. */
export interface WatermarkRun {
  readonly id: string;
  readonly dagId: string;
  readonly taskId: string;
  /** The task has no watermark in this run. */
  readonly fullRefresh: boolean;
}

/** The watermarks of one attempt: read in its transaction, and written in it after the task's own work. */
export class Watermarks {
  readonly #taskConnection: TaskConnection;
  readonly #run: WatermarkRun;
  readonly #given = new Map<string, GivenWatermark>();
  #rows: Promise<readonly WatermarkRow[]> | undefined;
  #isSaved = false;

  constructor(taskConnection: TaskConnection, run: WatermarkRun) {
    this.#taskConnection = taskConnection;
    this.#run = run;
  }

  /** One of them, for the task's own code. */
  readonly open = async (name: string): Promise<Watermark> => {
    if (typeof name !== 'string' || name === '')
      throw new EtlError('ETL-3701', { what: `Expected the name of a watermark, got ${showValue(name)}` });
    const row = await this.find(name);
    return {
      value: row?.value,
      set: (value) => this.put({ name, value: checkValue(name, value), type: undefined }),
    };
  };

  /** The row of one, as the last committed attempt has left it; undefined in a full refresh. */
  async find(name: string): Promise<WatermarkRow | undefined> {
    return (await this.readAll()).find((row) => row.name === name);
  }

  /** All that the task has. */
  async readAll(): Promise<readonly WatermarkRow[]> {
    if (this.#run.fullRefresh) return [];
    this.#rows ??= readWatermarks(this.#taskConnection, this.#run);
    return this.#rows;
  }

  /** Takes the value that `save` writes. */
  put(given: GivenWatermark): void {
    if (this.#isSaved) throw setTooLate(given.name);
    this.#given.set(given.name, given);
  }

  /** Writes what was set, after the task's own work and before its ledger row is closed. */
  async save(): Promise<void> {
    this.#isSaved = true;
    // In a transaction that an error has ended the attempt has its own word for that error.
    if (this.#given.size === 0 || this.#taskConnection.failure !== undefined) return;
    const setter = { by: 'task', runId: this.#run.id } as const;
    await writeWatermarks(this.#taskConnection, this.#run, [...this.#given.values()], setter);
  }
}

function checkValue(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '' && !value.includes('\0')) return value;
  const isDate = value instanceof Date;
  throw new EtlError('ETL-3702', {
    what: `Expected the watermark "${name}" to be SQL text, got ${isDate ? 'a Date' : showValue(value)}`,
    why: isDate
      ? 'a Date has milliseconds and a timestamp has microseconds: rows would be read twice or never'
      : undefined,
    fix: 'let the database write it: select max(updated_at)::text …',
  });
}

function setTooLate(name: string): EtlError {
  return new EtlError('ETL-3703', {
    what: `the watermark "${name}" was set after the task had ended`,
    why: 'a promise that it started was not awaited',
    fix: 'await every promise that the task starts',
    data: 'the watermark is what the task had set before it ended',
  });
}
