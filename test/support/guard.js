// Ends the server when the test process ends, also after kill -9. Standard input is a pipe from the test process, so
// the end of standard input shows the end of the test process.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';

const [pgCtl, folder, user] = process.argv.slice(2);

process.stdin.resume();
process.stdin.on('close', () => {
  const stop = ['stop', '-D', `${folder}/data`, '-m', 'immediate', '-w', '-t', '20', '-s'];
  // The stop fails if the server is not running, and that is fine.
  spawnSync(pgCtl, stop, { ...JSON.parse(user), cwd: '/', stdio: 'ignore', timeout: 25_000 });
  // A server that is still starting ends by itself when its files are removed.
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
