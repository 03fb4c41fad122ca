// What a task of the real binary does besides its work. Copied beside the config, so it imports nothing of this checkout.
import { appendFileSync } from 'node:fs';
import { connect } from 'node:net';
import { once } from 'node:events';
import type { GraphOptions } from './graph.js';

type Env = Readonly<Record<string, string | undefined>>;

/** Counts in a file that the environment names in `WORK_TRACE`: a byte for each task that began. */
export function begunOf({ WORK_TRACE: trace }: Env): GraphOptions['begun'] {
  return trace === undefined ? undefined : () => appendFileSync(trace, '.');
}

/** Reads from the environment what to do: `WORK_GATE`, a port to ask at; `WORK_HARM`, a way to end the process. */
export function midwayOf(env: Env): GraphOptions['midway'] {
  const { WORK_GATE: port, WORK_HARM: harm, WORK_HARMED: harmed } = env;
  return async (_context, taskId) => {
    if (port !== undefined) await gate(Number(port), taskId);
    if (harm !== undefined && taskId === harmed) await HARMS[harm]?.();
  };
}

async function gate(port: number, name: string): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`${name}\n`);
  await once(socket, 'data');
  socket.destroy();
}

const forEver = (): Promise<never> => new Promise(() => undefined);

/** Ways of a task to harm its process. */
export const HARMS: Readonly<Record<string, () => unknown>> = {
  // oxlint-disable-next-line unicorn/no-process-exit -- the harm that is tested
  'process.exit': () => process.exit(0),
  'unhandled rejection': () => {
    void Promise.reject(new Error('nobody waits'));
    return forEver();
  },
  'timer that throws': () => {
    setTimeout(() => {
      throw new Error('in a timer');
    }, 1);
    return forEver();
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
