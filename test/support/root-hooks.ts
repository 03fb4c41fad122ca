import { stopCluster } from './cluster.js';

/**
 * Ends the test server. mocha calls this hook once, after the last test. If mocha is killed, guard.js ends the server.
 */
export async function mochaGlobalTeardown(): Promise<void> {
  await stopCluster();
}
