import { stopCluster } from './cluster.js';

/** mocha calls it once, after the last test, in every case but its own sudden death (see guard.js). */
export async function mochaGlobalTeardown(): Promise<void> {
  await stopCluster();
}
