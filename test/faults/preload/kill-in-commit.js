// Loaded before the program. Kills the process KILL_AFTER_MS milliseconds after it sent its COMMIT number KILL_AT. With
// KILL_BLIND the process reads no answer in this time.
import { Socket } from 'node:net';

const { KILL_AT, KILL_AFTER_MS, KILL_BLIND } = process.env;
const COMMIT = Buffer.from('commit\0');
const write = Socket.prototype.write;
let commits = 0;

Socket.prototype.write = function (chunk, ...rest) {
  const sent = write.call(this, chunk, ...rest);
  if (Buffer.isBuffer(chunk) && chunk.includes(COMMIT) && ++commits === Number(KILL_AT)) die();
  return sent;
};

function die() {
  const kill = () => process.kill(process.pid, 'SIGKILL');
  if (KILL_BLIND) {
    const end = performance.now() + Number(KILL_AFTER_MS);
    while (performance.now() < end);
    kill();
  } else setTimeout(kill, Number(KILL_AFTER_MS));
}
