import { randomBytes } from 'node:crypto';
import { EtlError } from '../errors.js';
import { parseConnection } from '../hooks/parse-connection.js';
import { createConnection, formatDsn, type Connection } from '../hooks/connection.js';
import { ConnectionSet } from '../hooks/connection-set.js';
import type { Database } from '../hooks/hook.js';
import { FailTask } from '../runtime/attempt/outcome.js';
import type { TaskBeforeCommit } from '../runtime/attempt/before-commit.js';
import type { Dag } from '../runtime/dag/dag.js';
import { createTaskDag } from '../runtime/dag/task-dag.js';
import type { DagRunResult } from '../runtime/dag/run-end.js';
import type { TaskSummary } from '../runtime/report/event.js';
import { DEFAULT_CONCURRENCY, type RunConnections } from '../runtime/run/run.js';
import { quoteIdentifier } from '../runtime/sql/quote.js';
import type { Task } from '../runtime/tasks/task.js';
import { listConnectionIds, type RunDagOptions, runDagOn } from './run-dag.js';

/** Options of `openTestDatabase`. */
export interface TestDatabaseOptions {
  /**
   * A server on which a new database is created, and dropped by `close`. The role needs the right to create databases.
   * Default: the embedded database in memory, which needs the package `@electric-sql/pglite`.
   */
  readonly url?: string | undefined;
  /** SQL that creates the tables of the tests: any number of statements. */
  readonly sql?: string | undefined;
}

/** Options of `TestDatabase.run`: those of `runDag`, and the databases of further connections. */
export interface TestRunOptions extends Omit<RunDagOptions, 'connections' | 'variables'> {
  /** The databases of connections by ID. Every other connection of the Dag leads to the database that runs the Dag. */
  readonly connections?: Readonly<Record<string, TestDatabase>> | undefined;
}

/** Options of `TestDatabase.runTask`. */
export interface RunTaskOptions extends Omit<
  TestRunOptions,
  'resume' | 'strict' | 'task' | 'runId' | 'overlap'
> {
  /** The results of the upstream tasks, by the names under which the task sees them. Default: undefined. */
  readonly upstream?: Readonly<Record<string, unknown>> | undefined;
  /** True: rolls the task back at its end, so that it changes nothing. `inspect` sees what it would have written. */
  readonly rollback?: boolean | undefined;
  /** Called at the end of a task that has succeeded, inside its transaction. Sends queries with `query`. */
  readonly inspect?: ((task: TaskBeforeCommit) => Promise<void>) | undefined;
}

/** The result of one task. */
export interface TaskRunResult<Result> extends Omit<TaskSummary, 'reused' | 'durationMs'> {
  /** The result of the task. Undefined if it did not succeed. */
  readonly result: Result | undefined;
}

/** A PostgreSQL database for tests. */
export interface TestDatabase extends AsyncDisposable {
  /** Sends one statement or, without `values`, several. Returns the rows of the last one. */
  query<Row = Readonly<Record<string, unknown>>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<readonly Row[]>;
  /** Inserts rows into a table. */
  insert(table: string, rows: readonly Readonly<Record<string, unknown>>[]): Promise<void>;
  /** Runs a Dag on this database, like `runDag`. */
  run<Defined>(dag: Dag<Defined>, options?: TestRunOptions): Promise<DagRunResult<Defined>>;
  /**
   * Runs one task of a Dag, without the tasks that it needs: `upstream` has their results. `task` is the ID of the task, or
   * the value that the method of the builder returned.
   */
  runTask<Result = unknown>(
    dag: Dag,
    task: string | Task<string, Result>,
    options?: RunTaskOptions,
  ): Promise<TaskRunResult<Result>>;
  /** Closes the connections, and drops the database. */
  close(): Promise<void>;
}

/** Opens a database for the tests of one file. The caller closes it, also with `await using`. */
export async function openTestDatabase({ url, sql }: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const database = url === undefined ? await EmbeddedDatabase.open() : await ServerDatabase.create(url);
  try {
    if (sql !== undefined) await database.query(sql);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Opens a database, calls `work` with it, and closes it in any case. Returns what `work` returns. */
export async function withTestDatabase<T>(
  work: (database: TestDatabase) => Promise<T>,
  options: TestDatabaseOptions = {},
): Promise<T> {
  const database = await openTestDatabase(options);
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

/** Thrown at the end of a task that is rolled back by request. */
class RolledBack extends FailTask {}

/** The base class of the two kinds of test databases. */
abstract class AnyTestDatabase implements TestDatabase {
  protected abstract readonly main: Database;

  /** Opens the database for a run that uses the connection `id`. The run closes it. */
  abstract open(id: string): Promise<Database>;
  abstract close(): Promise<void>;
  /** The most transactions of a run at once. */
  abstract readonly poolSize: number;
  /** Describes the database for messages. */
  abstract readonly dsn: string;

  async query<Row>(text: string, values?: readonly unknown[]): Promise<readonly Row[]> {
    const client = (await this.main.knex.client.acquireConnection()) as {
      query(text: string, values?: readonly unknown[]): Promise<{ rows: Row[] } | { rows: Row[] }[]>;
    };
    try {
      const answer = await client.query(text, values);
      return (Array.isArray(answer) ? answer.at(-1) : answer)?.rows ?? [];
    } finally {
      await this.main.knex.client.releaseConnection(client);
    }
  }

  async insert(table: string, rows: readonly Readonly<Record<string, unknown>>[]): Promise<void> {
    await this.main.knex.batchInsert(table, [...rows], 500);
  }

  async run<Defined>(dag: Dag<Defined>, options: TestRunOptions = {}): Promise<DagRunResult<Defined>> {
    return runDagOn(dag, options, { connections: this.#connect(dag, options) });
  }

  async runTask<Result = unknown>(
    dag: Dag,
    task: string | Task<string, Result>,
    { upstream = {}, rollback = false, inspect, ...options }: RunTaskOptions = {},
  ): Promise<TaskRunResult<Result>> {
    const id = typeof task === 'string' ? task : task.id;
    const taskDag = createTaskDag(dag, id, upstream);
    let result: unknown;
    let rows = 0;
    let hasEnded = false;
    const beforeCommit = async (ended: TaskBeforeCommit): Promise<void> => {
      ({ result, rows } = ended);
      await inspect?.(ended);
      hasEnded = true;
      if (rollback) throw new RolledBack('the task was rolled back, because the test asked for it');
    };
    const run = await runDagOn(taskDag, options, {
      connections: this.#connect(taskDag, options),
      beforeCommit,
    });
    const { reused: _reused, durationMs: _ms, error, ...summary } = getLast(run.tasks);
    const failed = error ?? run.errors[0];
    if (rollback && hasEnded && error?.cause instanceof RolledBack)
      return { ...summary, state: 'success', rows, result: result as Result };
    const value = run.state === 'success' ? (run.results as Result) : undefined;
    return { ...summary, ...(failed === undefined ? {} : { error: failed }), result: value };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Returns the connections of a run. Throws ETL-2001 if two connections of the Dag lead to one embedded database. */
  #connect(
    dag: Dag,
    { connections = {}, concurrency = DEFAULT_CONCURRENCY, ...options }: TestRunOptions,
  ): RunConnections {
    const find = (id: string): AnyTestDatabase => {
      const database = Object.hasOwn(connections, id) ? connections[id] : this;
      if (database instanceof AnyTestDatabase) return database;
      throw new EtlError('ETL-2001', {
        what: `the option \`connections\` has no test database for "${id}"`,
        fix: 'pass a database that openTestDatabase or withTestDatabase has opened',
        data: 'nothing was started',
      });
    };
    const ids = listConnectionIds(dag, options);
    for (const [index, id] of ids.entries()) {
      const other = ids.slice(0, index).find((each) => find(each) === find(id));
      if (other === undefined || find(id).poolSize > 1) continue;
      throw new EtlError('ETL-2001', {
        what: `the connections "${other}" and "${id}" lead to the same embedded database, which has one session`,
        fix: `open another test database, and pass it as connections: { ${JSON.stringify(id)}: other }`,
        data: 'nothing was started',
      });
    }
    return {
      open: (id) => find(id).open(id),
      list: (prefix = '') => ids.filter((id) => id.startsWith(prefix)),
      describe: (id) => find(id).dsn,
      getPoolSize: (id) => Math.min(find(id).poolSize, concurrency),
    };
  }
}

/** An embedded database in memory. Its one session serves the queries of the test and the runs. */
class EmbeddedDatabase extends AnyTestDatabase {
  readonly poolSize = 1;
  readonly dsn = 'pglite::memory:';

  protected override readonly main: Database;

  constructor(main: Database) {
    super();
    this.main = main;
  }

  static async open(): Promise<EmbeddedDatabase> {
    const connection = parseConnection('test', 'pglite::memory:', 'openTestDatabase');
    return new EmbeddedDatabase(await openConnection(connection, 1));
  }

  async open(): Promise<Database> {
    // The database would be lost if the run closed it.
    return { ...this.main, close: async () => undefined };
  }

  close(): Promise<void> {
    return this.main.close();
  }
}

/** A database on a server. */
class ServerDatabase extends AnyTestDatabase {
  readonly poolSize = DEFAULT_CONCURRENCY;

  protected override readonly main: Database;
  readonly #connection: Connection;
  /** The database in which the test database is created and dropped. */
  readonly #maintenance: Connection;

  constructor(main: Database, connection: Connection, maintenance: Connection) {
    super();
    this.main = main;
    this.#connection = connection;
    this.#maintenance = maintenance;
  }

  get dsn(): string {
    return formatDsn(this.#connection);
  }

  static async create(text: string): Promise<ServerDatabase> {
    const maintenance = parseConnection('test', text, 'openTestDatabase');
    const name = `etl_test_${randomBytes(6).toString('hex')}`;
    await execute(maintenance, `create database ${quoteIdentifier(name)}`);
    const connection = rename(maintenance, { database: name });
    return new ServerDatabase(await openConnection(connection, DEFAULT_CONCURRENCY), connection, maintenance);
  }

  open(id: string): Promise<Database> {
    return openConnection(rename(this.#connection, { id }), this.poolSize);
  }

  async close(): Promise<void> {
    await this.main.close();
    const name = quoteIdentifier(this.#connection.database ?? '');
    await execute(this.#maintenance, `drop database if exists ${name} with (force)`);
  }
}

/** Copies a connection with other fields. The password is copied by name, because a spread leaves it out. */
function rename(connection: Connection, fields: Partial<Pick<Connection, 'id' | 'database'>>): Connection {
  return createConnection({ ...connection, password: connection.password, ...fields });
}

function openConnection(connection: Connection, concurrency: number): Promise<Database> {
  const options = { settings: {}, variables: process.env, root: process.cwd(), pid: process.pid };
  return new ConnectionSet(options).open(connection, { concurrency, notice: () => undefined });
}

/** Sends one statement to a server on a connection of its own. */
async function execute(connection: Connection, sql: string): Promise<void> {
  const database = await openConnection(connection, 1);
  try {
    await database.knex.raw(sql);
  } finally {
    await database.close();
  }
}

/** Returns the last task of a run, which is the task that was asked for. */
function getLast(tasks: readonly TaskSummary[]): TaskSummary {
  const last = tasks.at(-1);
  if (last === undefined) throw new Error('a run has no task');
  return last;
}
