import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { BIN, ROOT } from '../../support/cli.js';
import type { ConfigProject } from './project.js';

const run = promisify(execFile);

/** The packages of the checkout that the projects may import. */
const INSTALLED = ['knex', 'objection', 'pg'];
const TIMEOUT_MS = 60_000;

/** A project on the disk. */
export interface ProjectFolder extends AsyncDisposable {
  readonly directory: string;
}

/** Writes a project to a folder of its own, outside of the checkout and its tsconfig.json. */
export async function writeProject({ files, links = {} }: ConfigProject): Promise<ProjectFolder> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'etl-config-')));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), text, { mode: 0o644 });
  }
  const installed = Object.fromEntries(
    INSTALLED.map((name) => [`node_modules/${name}`, join(ROOT, 'node_modules', name)]),
  );
  const all = { 'node_modules/@oneshot/etl': ROOT, ...installed, ...links };
  for (const [name, target] of Object.entries(all)) {
    const link = join(directory, name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(target.startsWith('/') ? target : relative(dirname(link), join(directory, target)), link);
  }
  return { directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

/** Lets `etl` load the config of a project, and returns what the config has printed. `node` is the program of Node.js. */
export async function loadWithEtl(project: ConfigProject, directory: string, node: string): Promise<unknown> {
  const { config } = project;
  const args = [BIN, 'list', ...(config === undefined ? [] : ['--config', config])];
  return parseResult(await runNode(node, args, directory));
}

/** Lets the second implementation load the config of a project, and returns what the config has printed. */
export async function loadWithSecond(project: ConfigProject, directory: string): Promise<unknown> {
  const { config = 'etl.config.ts', second } = project;
  if (second === 'node') return parseResult(await runNode(process.execPath, [config], directory));
  if (second === 'tsc') return parseResult(await runCompiled(directory));
  const [, ...options] = second === 'tsx' ? ['tsx'] : second;
  const tsx = join(ROOT, 'node_modules/tsx/dist/cli.mjs');
  return parseResult(await runNode(process.execPath, [tsx, ...options, config], directory));
}

/** Compiles a project by tsc, and runs what it made. The types of the packages do not matter, so errors do not. */
async function runCompiled(directory: string): Promise<string> {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const options = '--module nodenext --outDir out --rootDir . --skipLibCheck --noCheck'.split(' ');
  await writeFile(join(directory, 'tsconfig.out.json'), createProjectFile(directory));
  await runNode(process.execPath, [tsc, '-p', 'tsconfig.out.json', ...options], directory);
  return await runNode(process.execPath, ['out/etl.config.js'], directory);
}

function createProjectFile(directory: string): string {
  const files = { include: ['*.ts', 'src'], exclude: ['out'] };
  const own = join(directory, 'tsconfig.json');
  return JSON.stringify({ ...(existsSync(own) && { extends: own }), ...files });
}

async function runNode(node: string, args: readonly string[], cwd: string): Promise<string> {
  const env = { PATH: process.env['PATH'], HOME: cwd, XDG_CACHE_HOME: join(ROOT, '.etl/test-cache') };
  const { stdout, stderr } = await run(node, args, { cwd, env, timeout: TIMEOUT_MS });
  // The program writes what a config prints to stderr. A warning of Node.js would be in the mail of each night.
  const others = stderr.replace(/^RESULT .*\n/gm, '');
  if (others !== '') throw new Error(`unexpected text on stderr: ${others}`);
  return stdout + stderr;
}

/** Returns the values that a config has printed. */
function parseResult(output: string): unknown {
  const line = /^RESULT (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new Error(`the config has printed no result: ${output}`);
  return JSON.parse(line);
}
