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
  const { tarball, packed } = await pack(folder);
  const directory = join(folder, 'project');
  await mkdir(directory);
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }');
  await writeFile(join(directory, 'etl.config.ts'), config);
  await installPackages(directory, [tarball]);
  const program = join(directory, 'node_modules/@oneshot/etl/bin/run.js');
  return { directory, program, tarball, packed };
}

/** Packs this checkout, as it is built, into `folder`. */
export async function pack(folder: string): Promise<Pick<PackedProject, 'tarball' | 'packed'>> {
  const { stdout } = await npm(ROOT, ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]);
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  return { tarball: join(folder, filename), packed: files.map(({ path }) => path) };
}

function npm(cwd: string, args: readonly string[]): Promise<{ stdout: string }> {
  return run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd, timeout: 50_000 });
}

/**
 * Installs packages or tarballs from npm's cache, which `npm ci` has filled. Uses the network only if the cache lacks a
 * package.
 */
export async function installPackages(cwd: string, packages: readonly string[]): Promise<void> {
  const args = ['install', '--ignore-scripts', ...packages];
  try {
    await npm(cwd, [...args, '--offline']);
  } catch {
    await npm(cwd, [...args, '--prefer-offline']);
  }
}
