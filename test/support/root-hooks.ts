import type { RootHookObject } from 'mocha';
import { stopCluster } from './cluster.js';
import { takeTurn } from './foreign-cluster.js';
import { createRunFolder, removeRunFolder } from './run-folder.js';

/**
 * Creates the folder of this run. mocha calls this hook once, before the first test. With --parallel, mocha does not call
 * it in the processes that run test files.
 */
export async function mochaGlobalSetup(): Promise<void> {
  await createRunFolder();
}

/**
 * Ends the test server and removes the folder of this run. mocha calls this hook once, after the last test. If mocha is
 * killed, guard.js ends the server. guard.js also ends the servers of the processes that --parallel starts.
 */
export async function mochaGlobalTeardown(): Promise<void> {
  await stopCluster();
  await removeRunFolder();
}

let turn: AsyncDisposable | undefined;

/**
 * With --parallel, mocha calls these hooks before and after each file. With ETL_TEST_DATABASE_URL, the processes share one
 * server, and only one process at a time runs a test file.
 */
export const mochaHooks: RootHookObject = {
  async beforeAll(this: Mocha.Context) {
    const url = process.env['ETL_TEST_DATABASE_URL'];
    if (!url || process.env['MOCHA_WORKER_ID'] === undefined) return;
    this.timeout(0);
    turn = await takeTurn(url);
  },
  async afterAll() {
    await turn?.[Symbol.asyncDispose]();
    turn = undefined;
  },
};
