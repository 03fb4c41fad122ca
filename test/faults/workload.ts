import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster } from '../support/cluster.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { nameSchema } from '../../src/runtime/ledger/ledger.js';
import { readMigration, SCHEMA_VERSION } from '../../src/runtime/ledger/schema.js';
import type { Tally } from './tally.js';

/** Creates the sequence that counts executions. Each task takes a number first, and no rollback resets a sequence. */
export const EXECUTIONS = 'create sequence executions';

/** Reads how many task bodies began. */
export async function countExecutions(query: TestDatabase['query']): Promise<number> {
  const [row] = await query<{ n: number }>(
    'select case when is_called then last_value else 0 end::int as n from executions',
  );
  return row?.n ?? 0;
}

/** Creates the tables that the tasks of the workload write to. */
export const TABLES = `
  create table effect (run_id text not null, task_id text not null, n int not null);
  create index on effect (run_id);
  create table counter (run_id text, task_id text, n int not null default 0, primary key (run_id, task_id));
  ${EXECUTIONS}`;

/** Options of `Workload.create`. */
export interface WorkloadOptions {
  readonly tasks?: number;
  readonly rows?: number;
  readonly pauseMs?: number;
  /** The server of the database. Default: the server that all faults share. */
  readonly server?: Cluster;
}

/** A database in which runs of the workload leave their effects. Checks these effects. */
export class Workload implements AsyncDisposable {
  readonly db: TestDatabase;
  readonly tasks: number;
  readonly rows: number;
  readonly pauseMs: number;
  readonly #tally: Tally;
  #runs = 0;
  #stalls = 0;

  private constructor(db: TestDatabase, tally: Tally, options: WorkloadOptions) {
    this.db = db;
    this.#tally = tally;
    this.tasks = options.tasks ?? 12;
    this.rows = options.rows ?? 40;
    this.pauseMs = options.pauseMs ?? 4;
  }

  /** Creates the database with its tables. */
  static async create(tally: Tally, options: WorkloadOptions = {}): Promise<Workload> {
    const { server } = options;
    const db = await createDatabase({ mayLeak: true, ...(server === undefined ? {} : { server }) });
    await db.query(TABLES);
    return new Workload(db, tally, options);
  }

  /** Returns the ID of a new run, and inserts a counter of 0 for each of its tasks. */
  async newRun(): Promise<string> {
    const runId = `r${++this.#runs}`;
    this.#tally.runs++;
    await this.db.query(`insert into counter select $1, 't' || g from generate_series(0, $2::int - 1) g`, [
      runId,
      this.tasks,
    ]);
    return runId;
  }

  /** Installs the ledger, for a fault that does not test the installation. */
  async install(): Promise<void> {
    await this.db.query('create schema etl');
    for (let version = 1; version <= SCHEMA_VERSION; version++)
      await this.db.query(readMigration(version, nameSchema()));
    await this.db.query('insert into etl.migration (version) select generate_series(1, $1::int)', [
      SCHEMA_VERSION,
    ]);
  }

  /** The environment variables for the program and its config. */
  get env(): Record<string, string> {
    return {
      ETL_CONN_DB: this.db.url,
      WORK_TASKS: String(this.tasks),
      WORK_ROWS: String(this.rows),
      WORK_PAUSE: String(this.pauseMs),
    };
  }

  /** Returns true if the ledger has the run. Then the run must be resumed instead of started. */
  async isKnown(runId: string): Promise<boolean> {
    const [there] = await this.db.query<{ there: boolean }>(
      `select to_regclass('etl.run') is not null as there`,
    );
    if (there?.there !== true) return false;
    return (await this.db.query('select from etl.run where run_id = $1', [runId])).length > 0;
  }

  /** True after three runs that hung. The rest of the shard would only cost time. */
  get isStalled(): boolean {
    return this.#stalls >= 3;
  }

  /** Reads the IDs of the tasks of a run that are done according to the ledger. */
  async readRecorded(runId: string): Promise<string[]> {
    const rows = await this.db.query<{ task_id: string }>(
      `select task_id from etl.task where run_id = $1 and state = 'success' order by task_id`,
      [runId],
    );
    return rows.map(({ task_id: id }) => id);
  }

  /**
   * Counts the tasks of a run that has ended. Each task must be done exactly once, or, with `isDone: false`, at most
   * once.
   */
  async check(runId: string, { isDone = true, ledger = 'etl.task' } = {}): Promise<void> {
    countEffects(await this.db.query<TaskEffect>(buildEffectQuery(ledger), [runId]), {
      tally: this.#tally,
      what: runId,
      rows: this.rows,
      isDone,
    });
  }

  /**
   * Waits for a run that must end within `ms` milliseconds. If the run does not, adds a problem with the state of its
   * sessions, and ends the sessions, so that the suite continues.
   */
  async waitWithin<T>(ms: number, what: string, run: Promise<T>): Promise<T> {
    const watch = new AbortController();
    const late = delay(ms, undefined, watch).then(
      () => this.#unblock(`${what} did not end in ${ms} ms`),
      () => undefined,
    );
    try {
      return await run;
    } finally {
      watch.abort();
      await late;
    }
  }

  async #unblock(what: string): Promise<void> {
    const sessions = await this.db.query<{ line: string }>(
      `select pid || ' ' || application_name || ' (' || coalesce(state, '?') || ', blocked by ' || pg_blocking_pids(pid)::text || '): '
         || left(query, 120) as line, pg_terminate_backend(pid)
       from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
    const seen = sessions.map(({ line }) => line.replaceAll(/\s+/g, ' ')).join(' / ');
    this.#tally.addProblem(`${what}: ${seen}`);
    this.#stalls++;
  }

  /** Waits at most a second for the end of all sessions. Adds a problem if sessions are still open. */
  async expectNoSessions(what: string): Promise<void> {
    const left = await this.db.leftSessions();
    if (left.length === 0) return;
    const seen = left.map(({ query }) => query).join(' / ');
    this.#tally.addProblem(`${what} left ${left.length} sessions: ${seen}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#tally.executions += await countExecutions(this.db.query);
    await this.expectNoSessions('the shard');
    await this.db.drop();
  }
}

/** The effect and the record of one task. */
export interface TaskEffect {
  readonly taskId: string;
  readonly rows: number;
  readonly counter: number;
  readonly recorded: number;
}

/** Builds the query that reads a `TaskEffect` for each task of the run `$1`. */
export function buildEffectQuery(ledger = 'etl.task'): string {
  return `select c.task_id as "taskId", c.n as counter, (select count(*)::int from ${ledger} l
      where l.run_id = c.run_id and l.task_id = c.task_id and l.state = 'success') as recorded, (select count(*)::int
      from effect e where e.run_id = c.run_id and e.task_id = c.task_id) as rows
    from counter c where run_id = $1`;
}

interface EffectCheck {
  readonly tally: Tally;
  readonly what: string;
  /** The number of rows that each task must have inserted. */
  readonly rows: number;
  /** True if the run says that it is done. Otherwise each task may be done or not. */
  readonly isDone: boolean;
}

/** Counts all tasks, and the tasks whose effect did not happen exactly once or differs from the ledger. */
export function countEffects(tasks: readonly TaskEffect[], { tally, what, rows, isDone }: EffectCheck): void {
  for (const task of tasks) {
    tally.tasks++;
    const wrong = findWrong(task, rows, isDone);
    if (wrong === undefined) continue;
    tally[wrong]++;
    const facts = `${task.rows} of ${rows} rows, counter ${task.counter}, recorded ${task.recorded}`;
    tally.addExample(`${wrong}: ${what}/${task.taskId}: ${facts}`);
  }
}

function findWrong(
  { rows, counter, recorded }: TaskEffect,
  expected: number,
  isDone: boolean,
): 'lost' | 'doubled' | 'partial' | undefined {
  if (rows === expected && counter === 1 && recorded === 1) return undefined;
  if (rows === 0 && counter === 0) return recorded === 0 && !isDone ? undefined : 'lost';
  return rows > expected || counter > 1 ? 'doubled' : 'partial';
}

/** Sleeps for the random time before an injection. The suite sleeps nowhere else. */
export function sleep(ms: number): Promise<void> {
  return delay(ms);
}
