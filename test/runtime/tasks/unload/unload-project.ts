import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { dag, type DagBuilder } from '../../../../src/runtime/dag/dag.js';
import { ROOT } from '../../../support/cli.js';
import { createDatabase, type TestDatabase } from '../../../support/database.js';
import { runOn, type FinishedRun, type RunOptions } from '../../../support/run.js';

/** The options of `d.unload`. */
export type UnloadOptions = Parameters<DagBuilder<unknown, undefined>['unload']>[1];

/** A test database, and a directory for the unloaded files. */
export class UnloadProject implements AsyncDisposable {
  readonly db: TestDatabase;
  readonly root: string;

  private constructor(db: TestDatabase, root: string) {
    this.db = db;
    this.root = root;
  }

  static async open(): Promise<UnloadProject> {
    await mkdir(join(ROOT, '.etl/test'), { recursive: true });
    return new UnloadProject(await createDatabase(), await mkdtemp(join(ROOT, '.etl/test/unload-')));
  }

  /** Runs a Dag `d` with one unload task `u`. */
  run(options: UnloadOptions, more: RunOptions = {}): Promise<FinishedRun> {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.unload('u', options));
    return runOn({ db: this.db.url }, graph, { root: this.root, ...more });
  }

  /** Runs the task and returns its result. Throws the error of the task. */
  async unload(options: UnloadOptions, more: RunOptions = {}): Promise<unknown> {
    const { tasks, runId } = await this.run(options, more);
    if (tasks[0]?.error !== undefined) throw tasks[0].error;
    const [row] = await this.db.query<{ result: unknown }>('select result from etl.task where run_id = $1', [
      runId,
    ]);
    return row?.result;
  }

  text(name: string): Promise<string> {
    return readFile(join(this.root, name), 'utf8');
  }

  bytes(name: string): Promise<Buffer> {
    return readFile(join(this.root, name));
  }

  /** Lists all files below the directory, also those whose names begin with a dot. */
  async files(): Promise<readonly string[]> {
    const entries = await readdir(this.root, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.root.length + 1))
      .toSorted();
  }

  /** Removes all files of the directory. */
  async clear(): Promise<void> {
    await rm(this.root, { recursive: true });
    await mkdir(this.root);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true });
    await this.db.drop();
  }
}
