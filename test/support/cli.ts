import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/** The folder of the checkout. */
export const ROOT = resolve(import.meta.dirname, '../..');
/** The program that users start. */
export const BIN = join(ROOT, 'bin/run.js');

/** The exit code and the output of a call of `etl`. */
export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of `startCli` and `cli`. */
export interface CliOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A call of `etl` that may not have ended. */
export interface CliProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<CliResult>;
}

/** A process of a test is killed after this time, so that no test hangs. */
const LIMIT_MS = 100_000;

/** Starts the real program. Its environment has PATH, HOME, the test cache and `env`, and nothing else. */
export function startCli(args: readonly string[], { cwd, env = {} }: CliOptions): CliProcess {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], HOME: cwd, XDG_CACHE_HOME: join(ROOT, '.etl/test-cache'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }));
  return { child, ended };
}

/** Runs the real program to its end. */
export function cli(args: readonly string[], options: CliOptions): Promise<CliResult> {
  return startCli(args, options).ended;
}

/** The folder of a user's project. */
export interface Project extends AsyncDisposable {
  readonly directory: string;
  write(files: Readonly<Record<string, string>>): Promise<void>;
  cli(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<CliResult>;
  start(args: readonly string[], env?: Readonly<Record<string, string>>): CliProcess;
}

/**
 * Creates a project with these files for one test, in a folder that git ignores. Its `package.json` ends the search for
 * a config.
 */
export async function createProject(files: Readonly<Record<string, string>>): Promise<Project> {
  const parent = join(ROOT, '.etl/test');
  await mkdir(parent, { recursive: true });
  const directory = await mkdtemp(join(parent, 'project-'));
  const project: Project = {
    directory,
    async write(more) {
      for (const [name, text] of Object.entries(more)) {
        await mkdir(dirname(join(directory, name)), { recursive: true });
        await writeFile(join(directory, name), text);
      }
    },
    cli: (args, env = {}) => cli(args, { cwd: directory, env }),
    start: (args, env = {}) => startCli(args, { cwd: directory, env }),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
  await project.write({ 'package.json': '{ "type": "module" }', ...files });
  return project;
}
