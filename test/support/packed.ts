import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from './cli.js';

const run = promisify(execFile);

/** A project of a user with the package that this checkout packs, and the peer dependencies that npm installs. */
export interface PackedProject {
  readonly directory: string;
  /** The program in `node_modules`. */
  readonly program: string;
  /** The path of the tarball. */
  readonly tarball: string;
  /** The paths of the files in the tarball. */
  readonly packed: readonly string[];
}

/**
 * Packs this checkout, as it is built, into `folder` and installs the tarball in the project `folder/project`. The config
 * of the project has the text `config`.
 */
export async function installPacked(folder: string, config: string): Promise<PackedProject> {
  const { stdout } = await npm(ROOT, ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]);
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  const directory = join(folder, 'project');
  const tarball = join(folder, filename);
  await mkdir(directory);
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }');
  await writeFile(join(directory, 'etl.config.ts'), config);
  await install(directory, tarball);
  const program = join(directory, 'node_modules/@oneshot/etl/bin/run.js');
  return { directory, program, tarball, packed: files.map(({ path }) => path) };
}

function npm(cwd: string, args: readonly string[]): Promise<{ stdout: string }> {
  return run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd, timeout: 50_000 });
}

/**
 * Installs a tarball from npm's cache, which `npm ci` has filled. Uses the network only if the cache lacks a package.
 */
async function install(cwd: string, tarball: string): Promise<void> {
  const args = ['install', '--ignore-scripts', tarball];
  try {
    await npm(cwd, [...args, '--offline']);
  } catch {
    await npm(cwd, [...args, '--prefer-offline']);
  }
}
