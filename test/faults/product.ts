import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { ROOT } from '../support/cli.js';

/** No process of the suite lives longer, in milliseconds. */
const LIMIT_MS = 60_000;

/** How a process ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that is under way. */
export interface Under {
  readonly child: ChildProcess;
  /** Resolves when its first task has started, or when it is over. */
  readonly working: Promise<unknown>;
  readonly ended: Promise<Ended>;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** For Node itself. */
  readonly node?: readonly string[];
  /** More arguments for `run`. */
  readonly flags?: readonly string[];
  /** A file descriptor for stdout, or that of stderr; default: pipes that are read. */
  readonly stdout?: number | 'pipe' | 'ignore';
  readonly stderr?: number | 'pipe';
  /** It is killed after so long, in milliseconds. */
  readonly limitMs?: number;
}

/** A copy of the built package with a config that has the workload: a build that happens meanwhile does no harm. */
export interface Product extends AsyncDisposable {
  /** The directory of the config. */
  readonly directory: string;
  /** Runs `etl` with these arguments. */
  start(args: readonly string[], options?: StartOptions): Under;
  /** Runs the Dag of the workload, with its events on stdout. */
  run(runId: string, isResume: boolean, options?: StartOptions): Under;
}

const CONFIG = `
import { dag, defineConfig } from '@oneshot/etl';
import { graph } from './graph.ts';
import { begunOf, midwayOf } from './midway.ts';
const env = process.env;
export default defineConfig({ dags: [graph(dag, {
  tasks: Number(env.WORK_TASKS), rows: Number(env.WORK_ROWS), pauseMs: Number(env.WORK_PAUSE),
  retries: Number(env.WORK_RETRIES ?? 0), synchronousCommit: env.WORK_SYNC, begun: begunOf(env), midway: midwayOf(env),
})] });`;

/** Copies what was built last. */
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
  const startBin = (args: readonly string[], options: StartOptions = {}): Under =>
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

/** Somebody's build takes `dist` away for a second. */
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

/** Starts Node with nothing in its environment that the suite did not put there. */
export function startNode(
  args: readonly string[],
  cwd: string,
  { env = {}, stdout = 'pipe', stderr = 'pipe', limitMs = LIMIT_MS }: StartOptions,
): Under {
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

/** For a problem's text. */
export function describe({ code, signal, stderr, stdout }: Ended): string {
  const last = `${stdout.split('\n').slice(-3).join(' ')} ${stderr}`.trim().slice(-600);
  return `exit ${code ?? signal}: ${last.replaceAll(/\s+/g, ' ')}`;
}
