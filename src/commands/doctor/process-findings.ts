import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { describeThrown } from '../../errors.js';
import { getCacheDirectory } from '../program/cache-directory.js';
import { readManifest } from '../program/manifest.js';
import type { Finding } from './finding.js';

type Variables = Readonly<Record<string, string | undefined>>;

/** Looks at the versions of the program and of Node.js. */
export function findVersions(): readonly Finding[] {
  const { version, engines } = readManifest() as unknown as { version: string; engines: { node: string } };
  // Bun sets the version of Node.js that it stands for, so its own version decides.
  const { bun } = process.versions;
  const node: Finding =
    bun === undefined
      ? { check: 'node', status: 'ok', text: `${process.version}, ${platform()} ${arch()}` }
      : {
          check: 'node',
          status: 'warn',
          text: `Bun ${bun} in the place of Node.js`,
          fix: 'start etl with Node.js: etl is not tested with the runtime of Bun',
        };
  return [
    { check: 'etl', status: 'ok', text: version, values: { version } },
    { ...node, values: { version: process.version, required: engines.node } },
  ];
}

/**
 * Looks for a package manager between the scheduler and this process, by the variables that package managers set. After a
 * SIGTERM, `npx` and `npm run` can end before etl, and etl gets no signal.
 */
export function findWrapper(variables: Variables): Finding {
  const agent = variables['npm_config_user_agent'] ?? variables['npm_execpath'];
  const event = variables['npm_lifecycle_event'];
  const check = 'signals';
  if (agent === undefined && event === undefined) {
    const text =
      process.pid === 1
        ? 'this process is the first of its container, and handles SIGTERM itself'
        : 'no package manager has started this process';
    return { check, status: 'ok', text, values: { wrapper: null } };
  }
  const name = /^[a-z]+/.exec(variables['npm_config_user_agent'] ?? '')?.[0] ?? 'npm';
  const script = event === undefined || event === 'npx' ? 'exec' : `run ${event}`;
  const wrapper = `${name} ${script}`;
  return {
    check,
    status: 'warn',
    text: `started by \`${wrapper}\`, which may not pass SIGTERM on to a run`,
    fix: 'by hand this is fine; in cron, CI and containers call node_modules/.bin/etl',
    values: { wrapper },
  };
}

/** Looks at the two caches of compiled code: that of the program, and `.etl` beside the config. */
export function findCaches(variables: Variables, configDirectory: string | undefined): readonly Finding[] {
  if (variables['ETL_NO_CACHE'])
    return [{ check: 'cache', status: 'ok', text: 'off, because ETL_NO_CACHE is set' }];
  const directory = getCacheDirectory();
  const own: Finding =
    directory === undefined
      ? {
          check: 'cache',
          status: 'warn',
          text: 'this user has no private directory for compiled code, so each start takes longer',
          fix: 'set XDG_CACHE_HOME to a directory that belongs to this user and that nobody else may open',
        }
      : describeDirectory('cache', directory);
  if (configDirectory === undefined) return [own];
  return [own, describeDirectory('config cache', join(configDirectory, '.etl'), join('cache', 'config'))];
}

/** Describes a directory: whether this user may write there, its owner, and the size of the files in `folder`. */
function describeDirectory(check: string, directory: string, folder = '.'): Finding {
  try {
    const { uid, mode } = statSync(directory);
    accessSync(directory, constants.W_OK | constants.X_OK);
    const bytes = measure(join(directory, folder));
    const owner = platform() === 'win32' ? '' : `, owner ${uid}, mode ${(mode & 0o777).toString(8)}`;
    const text = `${directory}, writable${owner}, ${(bytes / 1e6).toFixed(1)} MB`;
    return { check, status: 'ok', text, values: { directory, owner: uid, bytes } };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      return { check, status: 'ok', text: `${directory}, not made yet`, values: { directory } };
    return {
      check,
      status: 'warn',
      text: `${directory} can't be used: ${describeThrown(error)}`,
      fix: 'give this user the directory, or set ETL_NO_CACHE=1',
      values: { directory },
    };
  }
}

/** Adds up the sizes of the files in a directory. A directory that is not there has 0 bytes. */
function measure(directory: string): number {
  let bytes = 0;
  try {
    for (const name of readdirSync(directory))
      bytes += statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return bytes;
}
