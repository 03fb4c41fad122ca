import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { dag, type Dag } from '../../../../src/runtime/dag/dag.js';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { ROOT } from '../../../support/cli.js';
import { createDatabase, type TestDatabase } from '../../../support/database.js';
import { runOn } from '../../../support/run.js';

/** A test database, and a directory for the files to load. */
export interface Workbench extends AsyncDisposable {
  readonly db: TestDatabase;
  readonly root: string;
  /** Writes files, by their path in the directory. Creates missing directories. */
  write(files: Readonly<Record<string, string | Buffer>>): Promise<void>;
  /** Runs a Dag with one load task. By default it appends `in.csv` to table `t`. */
  load(source?: Partial<LoadSource>): ReturnType<Workbench['run']>;
  /** Runs a Dag that has a load task. */
  run(graph: Dag): Promise<Loaded>;
}

type FinishedRun = Awaited<ReturnType<typeof runOn>>;

/** The outcome of a run with one load task. `result` is the result of the task in the ledger. */
export interface Loaded {
  readonly task: FinishedRun['tasks'][number] | undefined;
  readonly result: Readonly<Record<string, unknown>> | undefined;
  readonly events: FinishedRun['events'];
}

/** Opens a workbench. Its disposal drops the database and removes the directory. */
export async function openWorkbench(): Promise<Workbench> {
  const db = await createDatabase();
  await mkdir(join(ROOT, '.etl/test'), { recursive: true });
  const root = await mkdtemp(join(ROOT, '.etl/test/load-'));
  const bench: Workbench = {
    db,
    root,
    async write(files) {
      for (const [name, text] of Object.entries(files)) {
        await mkdir(dirname(join(root, name)), { recursive: true });
        await writeFile(join(root, name), text);
      }
    },
    load: (source = {}) =>
      bench.run(
        dag('d', { defaults: { conn: 'db' } }, (d) => {
          d.load('l', { from: 'in.csv', into: 't', mode: 'append', ...source });
        }),
      ),
    async run(graph) {
      const { tasks, events, runId } = await runOn({ db: db.url }, graph, { root });
      const [row] = await db.query<{ result: Loaded['result'] }>(
        'select result from etl.task where run_id = $1 and committed_at is not null',
        [runId],
      );
      return { task: tasks[0], result: row?.result, events };
    },
    async [Symbol.asyncDispose]() {
      await rm(root, { recursive: true });
      await db.drop();
    },
  };
  return bench;
}
