import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/** The checkout. */
export const ROOT = resolve(import.meta.dirname, '../..');
/** The binary that users get. */
export const BIN = join(ROOT, 'bin/run.js');

/** What a call of `etl` left behind. */
export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A call of `etl` that is under way. */
export interface CliProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<CliResult>;
}

/** No test may hang for longer. */
const LIMIT_MS = 60_000;

/** Starts the real binary, with nothing in its environment that the test did not put there. */
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

/** Runs the real binary to its end. */
export function cli(args: readonly string[], options: CliOptions): Promise<CliResult> {
  return startCli(args, options).ended;
}

/** A folder of a user, with these files in it. */
export interface Project extends AsyncDisposable {
  readonly directory: string;
  write(files: Readonly<Record<string, string>>): Promise<void>;
  cli(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<CliResult>;
  start(args: readonly string[], env?: Readonly<Record<string, string>>): CliProcess;
}

/** Makes a folder for one test, inside the checkout's ignored folder, with a package file that ends the search. */
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
