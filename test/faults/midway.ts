// Extra actions of a task of the real program. The suite copies this file beside the config, so the file imports
// nothing of this checkout at run time.
import { appendFileSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { once } from 'node:events';
import type { GraphOptions } from './graph.js';

type Env = Readonly<Record<string, string | undefined>>;

/** Creates a function that appends a byte to the file `WORK_TRACE` for each task that begins. */
export function createOnBegin({ WORK_TRACE: trace }: Env): GraphOptions['onBegin'] {
  return trace === undefined ? undefined : () => appendFileSync(trace, '.');
}

/**
 * Creates a function that a task calls in its middle. Environment variables say what the function does:
 *
 * - `WORK_GATE`: the port of a gate to wait at
 * - `WORK_BLOCK`: for how many milliseconds of processor time to block the event loop
 * - `WORK_HARM`: a file with a key of `HARMS`, for the task whose ID is `WORK_HARMED`. The variables that a task uses belong
 *   to its fingerprint, so a resume without the harm empties the file and keeps the variable.
 */
export function createOnMidway(env: Env): GraphOptions['onMidway'] {
  const { WORK_GATE: port, WORK_BLOCK: block, WORK_HARM: harm, WORK_HARMED: harmed } = env;
  return async (_context, taskId) => {
    if (port !== undefined) await waitAtGate(Number(port), taskId);
    if (block !== undefined) blockFor(Number(block));
    if (harm !== undefined && taskId === harmed) await HARMS[readFileSync(harm, 'utf8')]?.();
  };
}

/** Processor time stands still while the process is stopped, so the event loop is still blocked when it goes on. */
function blockFor(ms: number): void {
  const begin = process.cpuUsage();
  for (let used = process.cpuUsage(begin); used.user + used.system < ms * 1000;)
    used = process.cpuUsage(begin);
}

async function waitAtGate(port: number, name: string): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`${name}\n`);
  await once(socket, 'data');
  socket.destroy();
}

const waitForEver = (): Promise<never> => new Promise(() => undefined);

/** The ways in which a task harms its own process. The key is the name in messages. */
export const HARMS: Readonly<Record<string, () => unknown>> = {
  // oxlint-disable-next-line unicorn/no-process-exit -- the harm that is tested
  'process.exit': () => process.exit(0),
  'unhandled rejection': () => {
    void Promise.reject(new Error('nobody waits'));
    return waitForEver();
  },
  'timer that throws': () => {
    setTimeout(() => {
      throw new Error('in a timer');
    }, 1);
    return waitForEver();
  },
  abort: () => process.abort(),
  'heap limit': () => {
    const heap: unknown[] = [];
    for (;;) heap.push(Array.from({ length: 10_000 }, (_, n) => ({ n })));
  },
  'endless loop': () => {
    for (;;);
  },
};
