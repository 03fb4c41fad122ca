import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { ROOT } from '../support/cli.js';

/** A process of the suite is killed after this time, in milliseconds. */
const LIMIT_MS = 60_000;

/** How a process ended, with its output. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that was started. */
export interface RunningProcess {
  readonly child: ChildProcess;
  /** Resolves when the first task has started, or when the process has ended. */
  readonly working: Promise<unknown>;
  readonly ended: Promise<Ended>;
}

/** Options of a process. */
export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Arguments for Node itself. */
  readonly node?: readonly string[];
  /** More arguments for `etl run`. */
  readonly flags?: readonly string[];
  /** Where stdout goes: a file descriptor, or a pipe that the suite reads. Default: a pipe. */
  readonly stdout?: number | 'pipe' | 'ignore';
  /** Where stderr goes: a file descriptor, or a pipe that the suite reads. Default: a pipe. */
  readonly stderr?: number | 'pipe';
  /** The process is killed after this time, in milliseconds. Default: a minute. */
  readonly limitMs?: number;
}

/**
 * A copy of the built package, with a config that has the workload. A build at the same time does not change the copy.
 */
export interface Product extends AsyncDisposable {
  /** The directory of the config. */
  readonly directory: string;
  /** Starts `etl` with these arguments. */
  start(args: readonly string[], options?: StartOptions): RunningProcess;
  /** Starts a run of the workload's Dag, with its events on stdout. */
  run(runId: string, isResume: boolean, options?: StartOptions): RunningProcess;
}

const CONFIG = `
import { dag, defineConfig } from '@oneshot/etl';
import { defineGraph } from './graph.ts';
import { createOnBegin, createOnMidway } from './midway.ts';
const env = process.env;
export default defineConfig({ dags: [defineGraph(dag, {
  tasks: Number(env.WORK_TASKS), rows: Number(env.WORK_ROWS), pauseMs: Number(env.WORK_PAUSE),
  retries: Number(env.WORK_RETRIES ?? 0), synchronousCommit: env.WORK_SYNC, onBegin: createOnBegin(env),
  onMidway: createOnMidway(env),
})] });`;

/** Copies the newest build and writes the config. */
export async function openProduct(): Promise<Product> {
  const parent = join(ROOT, '.etl/test');
  await mkdir(parent, { recursive: true });
  const copy = await mkdtemp(join(parent, 'faults-'));
  await copyBuilt(copy);
  await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  const directory = join(copy, 'project');
  await mkdir(directory);
  for (const file of ['graph.ts', 'midway.ts'])
    await cp(join(import.meta.dirname, file), join(directory, file));
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }');
  await writeFile(join(directory, 'etl.config.js'), CONFIG);
  const bin = join(copy, 'bin/run.js');
  const startBin = (args: readonly string[], options: StartOptions = {}): RunningProcess =>
    startNode([...(options.node ?? []), bin, ...args], directory, options);
  return {
    directory,
    start: startBin,
    run: (runId, isResume, options = {}) => {
      const resume = isResume ? ['--resume'] : [];
      const args = ['run', 'd', '--reporter', 'ndjson', '--run-id', runId, ...resume];
      return startBin([...args, ...(options.flags ?? [])], options);
    },
    [Symbol.asyncDispose]: () => rm(copy, { recursive: true, force: true, maxRetries: 5 }),
  };
}

/** Copies the build. Retries for 10 seconds, because a build at the same time removes `dist` for a second. */
async function copyBuilt(copy: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      for (const part of ['bin', 'package.json', 'dist'])
        await cp(join(ROOT, part), join(copy, part), { recursive: true, preserveTimestamps: true });
      await access(join(copy, 'dist/etl.cjs'));
      return;
    } catch (error) {
      if (attempt === 20) throw error;
      await delay(500);
    }
  }
}

/** Starts Node. Its environment has PATH, HOME and `env`, and nothing else. */
export function startNode(
  args: readonly string[],
  cwd: string,
  { env = {}, stdout = 'pipe', stderr = 'pipe', limitMs = LIMIT_MS }: StartOptions,
): RunningProcess {
  const child = spawn(process.execPath, args, {
    cwd,
    env: { PATH: process.env['PATH'], HOME: cwd, ...env },
    stdio: ['ignore', stdout, stderr],
    timeout: limitMs,
    killSignal: 'SIGKILL',
  });
  const said = { stdout: '', stderr: '' };
  const exit = once(child, 'close');
  const lines = new Promise<void>((resolve) => {
    if (child.stdout === null) return;
    createInterface(child.stdout).on('line', (line) => {
      said.stdout += `${line}\n`;
      if (line.includes('"event":"task_started"')) resolve();
    });
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  const ended = exit.then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    ...said,
  }));
  return { child, working: Promise.race([lines, ended]), ended };
}

/** Formats the end of a process for the text of a problem. */
export function formatEnded({ code, signal, stderr, stdout }: Ended): string {
  const last = `${stdout.split('\n').slice(-3).join(' ')} ${stderr}`.trim().slice(-600);
  return `exit ${code ?? signal}: ${last.replaceAll(/\s+/g, ' ')}`;
}
