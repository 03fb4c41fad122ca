// Outlives the test process and ends the server with it, however it ends (kill -9 too): standard input is a pipe
// from the test process, so its end of file is the signal.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';

const [pgCtl, folder, user] = process.argv.slice(2);

process.stdin.resume();
process.stdin.on('close', () => {
  const stop = ['stop', '-D', `${folder}/data`, '-m', 'immediate', '-w', '-t', '20', '-s'];
  // It fails when the server is not running, which is as good.
  spawnSync(pgCtl, stop, { ...JSON.parse(user), cwd: '/', stdio: 'ignore', timeout: 25_000 });
  // A server that is still starting ends by itself when its data are gone.
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
