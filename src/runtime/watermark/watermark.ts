import { EtlError } from '../../errors.js';
import { NOT_TEXT, showValue } from '../json.js';
import {
  readWatermarks,
  writeWatermarks,
  type GivenWatermark,
  type WatermarkRow,
} from '../ledger/watermark-row.js';
import type { Ledger } from '../ledger/ledger.js';
import type { TaskConnection } from '../postgres/task-connection.js';

/** A watermark of a task: the last committed value under one name, and a way to set the next value. */
export interface Watermark {
  /** The last committed value. Undefined if the task has committed no value, and in a full refresh. */
  readonly value: string | undefined;
  /**
   * Sets the value that is committed together with the task's data. The last call counts. A task that fails sets
   * nothing. The value is SQL text, such as `max(updated_at)::text`: a `Date` has no microseconds, so rows would be
   * read twice or never. Throws ETL-3702 if the value is not text, and ETL-3703 if the task has ended.
   */
  set(value: string): void;
}

/** The run that reads and writes a task's watermarks. The part of `TaskRun` that `Watermarks` needs. */
export interface WatermarkRun {
  readonly id: string;
  readonly dagId: string;
  readonly taskId: string;
  /** True if the run ignores the task's watermarks. */
  readonly fullRefresh: boolean;
}

/**
 * Reads the watermarks of one attempt in the attempt's transaction, and writes them in the same transaction after the
 * task's work.
 */
export class Watermarks {
  readonly #ledger: Ledger<TaskConnection>;
  readonly #run: WatermarkRun;
  /** The values that `save` writes, by the name of the watermark. */
  readonly #given = new Map<string, GivenWatermark>();
  #rows: Promise<readonly WatermarkRow[]> | undefined;
  #isSaved = false;

  constructor(ledger: Ledger<TaskConnection>, run: WatermarkRun) {
    this.#ledger = ledger;
    this.#run = run;
  }

  /** Opens a watermark by its name, for the task's own code. Throws ETL-3701 if the ledger can't store the name. */
  readonly open = async (name: string): Promise<Watermark> => {
    assertWatermarkName(name);
    const row = await this.find(name);
    return {
      value: row?.value,
      set: (value) => this.put({ name, value: checkValue(name, value), type: undefined }),
    };
  };

  /**
   * Finds the row of a watermark as the last committed attempt left the row. Returns undefined if there is no row, and
   * in a full refresh.
   */
  async find(name: string): Promise<WatermarkRow | undefined> {
    return (await this.readAll()).find((row) => row.name === name);
  }

  /** Reads all watermarks of the task, once an attempt. Returns no rows in a full refresh. */
  async readAll(): Promise<readonly WatermarkRow[]> {
    if (this.#run.fullRefresh) return [];
    this.#rows ??= readWatermarks(this.#ledger, this.#run);
    return this.#rows;
  }

  /** Sets the value that `save` writes. Throws ETL-3703 after `save`. */
  put(given: GivenWatermark): void {
    if (this.#isSaved)
      throw new EtlError('ETL-3703', {
        what: `the watermark "${given.name}" was set after the task had ended`,
        why: 'the task did not await a promise that it started',
        fix: 'await every promise that the task starts',
        data: 'the watermark has the value that the task set before it ended',
      });
    this.#given.set(given.name, given);
  }

  /**
   * Writes the values that were set. Called after the task's own work and before the close of its ledger row. After
   * this call no value can be set. Writes nothing if a statement of the task has failed.
   */
  async save(): Promise<void> {
    this.#isSaved = true;
    // After an SQL error the transaction is aborted, and the attempt reports that error itself.
    if (this.#given.size === 0 || this.#ledger.client.failure !== undefined) return;
    const setter = { by: 'task', runId: this.#run.id } as const;
    await writeWatermarks(this.#ledger, this.#run, [...this.#given.values()], setter);
  }
}

/** The maximum length of a watermark's name, in characters. The name is a part of a unique key. */
const LONGEST_NAME = 200;

/** Throws ETL-3701 if a name is not a text, is empty or too long, or has a character that PostgreSQL can't store. */
export function assertWatermarkName(name: unknown): void {
  if (typeof name === 'string' && name !== '' && name.length <= LONGEST_NAME && !NOT_TEXT.test(name)) return;
  throw new EtlError('ETL-3701', {
    what: `expected the name of a watermark, got ${showValue(name)}`,
    fix: `use a text of 1 to ${LONGEST_NAME} characters, without a NUL character and half of a surrogate pair`,
  });
}

/** Returns a value that is not empty text, which PostgreSQL can store. Throws ETL-3702 for any other value. */
function checkValue(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '' && !NOT_TEXT.test(value)) return value;
  const isDate = value instanceof Date;
  throw new EtlError('ETL-3702', {
    what: `expected the watermark "${name}" to be SQL text, got ${isDate ? 'a Date' : showValue(value)}`,
    why: isDate
      ? 'a Date has milliseconds and a timestamp has microseconds, so rows would be read twice or never'
      : undefined,
    fix: 'let the database write the text: select max(updated_at)::text …',
  });
}
