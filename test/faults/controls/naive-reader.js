// Reads a named pipe as most programs do: a thread waits in the system call. The timeout is reported in time, but nothing
// can stop the thread, so the process does not end.
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

const { PIPE, TIMEOUT_MS } = process.env;
const late = delay(Number(TIMEOUT_MS)).then(() => Promise.reject(new Error('timeout')));
try {
  await Promise.race([readFile(PIPE), late]);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
