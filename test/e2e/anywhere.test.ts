import { expect } from 'chai';
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createDatabase, ownCluster, type TestDatabase } from '../support/database.js';
import { installPacked } from '../support/packed.js';

const run = promisify(execFile);

/** A user that the system does not know. Its number is that of no distribution. */
const STRANGER = ['setpriv', '--reuid', '10001', '--regid', '10001', '--clear-groups'];
/** Starts a command in its own mounts, which a shell changes before. */
const MOUNTS = ['unshare', '--mount', 'sh', '-c'];
/** Starts a command as the first process of its own process IDs, like a container. */
const FIRST = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
/** Ends a shell script that prepares the environment: runs the command that follows. */
const THEN = 'exec "$@"';

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  const hello = dag('hello', { defaults: { conn: 'default' } }, (d) => {
    const greet = d.sql('greet', { sql: "insert into greeting values ('hello')" });
    d.session('count', { needs: { greet } }, async ({ session }) => (await session('greeting')).length);
  });
  const endless = dag('endless', { defaults: { conn: 'default' } }, (d) => {
    d.session('wait', {}, async ({ session, log }) => {
      await session('greeting').insert({ word: 'never' });
      log('waiting');
      await session.raw('select pg_sleep(1000)');
    });
  });
  const files = dag('files', { defaults: { conn: 'default' } }, (d) => {
    d.load('all', { from: 'in/**/*.csv', into: 'greeting', mode: 'append' });
  });
  const flat = dag('flat', { defaults: { conn: 'default' } }, (d) => {
    d.load('some', { from: 'in/*.csv', into: 'greeting', mode: 'append' });
  });
  if (process.env['SLOW_CONFIG']) {
    process.stderr.write('loading\\n');
    await new Promise((resolve) => setTimeout(resolve, 1e8));
  }
  export default defineConfig({ dags: [hello, endless, files, flat] });`;

/** The environment of a command, in place of the one of the tests. A missing variable is not set. */
type Variables = Readonly<Record<string, string | undefined>>;

/** One environment in which `etl run hello` succeeds. */
interface Place {
  readonly title: string;
  /** The words before the command. */
  readonly before?: readonly string[];
  readonly variables?: Variables;
  /** Changes a copy of the project. Resolves to the working directory, if that is not the copy. */
  readonly prepare?: (copy: string) => Promise<string | void>;
  /** The words after `run hello`. Default: `--quiet`. */
  readonly flags?: readonly string[];
}

/** Places that need no rights. */
const ORDINARY: readonly Place[] = [
  {
    title: 'cron, whose PATH is /usr/bin:/bin',
    variables: { PATH: '/usr/bin:/bin', LOGNAME: 'a', SHELL: '/bin/sh' },
  },
  { title: 'an empty environment' },
  { title: 'HOME is empty', variables: { HOME: '' } },
  { title: 'HOME is a relative path', variables: { HOME: 'home' } },
  { title: 'HOME is a file', variables: { HOME: '/etc/hosts' } },
  { title: 'HOME does not exist', variables: { HOME: '/none/of/these' } },
  { title: 'HOME is longer than a path may be', variables: { HOME: `/${'long'.repeat(2000)}` } },
  {
    title: 'HOME is a loop of links',
    variables: { HOME: 'loop/home' },
    prepare: (copy) => symlink('loop', join(copy, 'loop')),
  },
  { title: 'TMPDIR does not exist', variables: { TMPDIR: '/none/of/these' } },
  { title: 'TZ and LANG name nothing', variables: { TZ: 'Nowhere/Land', LANG: 'xx_YY.none' } },
  { title: 'XDG_CACHE_HOME is a file', variables: { XDG_CACHE_HOME: '/etc/hosts' } },
  { title: 'XDG_CACHE_HOME is a relative path', variables: { XDG_CACHE_HOME: 'cache' } },
  { title: 'the code cache is off', variables: { ETL_NO_CACHE: '1' } },
  {
    title: 'stdin, stdout and stderr are closed',
    before: ['sh', '-c', `${THEN} <&- >&- 2>&-`, 'sh'],
    flags: [],
  },
  {
    title: 'the working directory was removed, with --config',
    before: ['sh', '-c', `mkdir gone && cd gone && rmdir ../gone && ${THEN}`, 'sh'],
    flags: ['--quiet', '--config', 'etl.config.ts'],
  },
  { title: 'umask takes all rights away', before: ['sh', '-c', `umask 777 && ${THEN}`, 'sh'] },
  ...(existsSync('/dev/full')
    ? [{ title: 'stdout and stderr are full', before: ['sh', '-c', `${THEN} >/dev/full 2>/dev/full`, 'sh'] }]
    : []),
];

/** The home directory of the user who runs the tests, which no other user may enter. */
const PRIVATE = userInfo().homedir;

/** Places of a user that the system does not know, and that may read only what everybody may read. */
const STRANGE: readonly Place[] = [
  { title: 'the user has no name and no HOME' },
  { title: 'the user has no name, HOME and code cache', variables: { ETL_NO_CACHE: '1' } },
  { title: 'the user has no name, and HOME is /', variables: { HOME: '/' } },
  { title: 'the user may not enter HOME', variables: { HOME: PRIVATE } },
  { title: 'the user may not enter HOME, and TLS is on', variables: { HOME: PRIVATE, PGSSLMODE: 'require' } },
  { title: 'the user may not enter XDG_CACHE_HOME', variables: { XDG_CACHE_HOME: join(PRIVATE, 'cache') } },
  {
    title: 'the user may not read what PGPASSFILE and PGSERVICEFILE name',
    variables: { PGPASSFILE: join(PRIVATE, 'pass'), PGSERVICEFILE: join(PRIVATE, 'services') },
  },
  {
    title: 'the user may not list the directories above the project',
    prepare: async (copy) => {
      await mkdir(join(copy, 'packages/jobs'), { recursive: true });
      await chmod(join(copy, 'packages'), 0o711);
      await chmod(copy, 0o711);
      return join(copy, 'packages/jobs');
    },
  },
  {
    title: 'the user may not enter a directory between the working directory and the config',
    prepare: async (copy) => {
      await mkdir(join(copy, 'closed/jobs'), { recursive: true });
      await chmod(join(copy, 'closed'), 0o700);
      return join(copy, 'closed/jobs');
    },
  },
  ...['.env', '.env.local', 'tsconfig.json', 'package.json', '.pgpass'].map((name): Place => ({
    title: `the user may not read ${name}`,
    variables: { HOME: '.' },
    prepare: (copy) =>
      writeFile(join(copy, name), '{ "type": "module" }', { mode: 0o600 }).then(() =>
        chmod(join(copy, name), 0o600),
      ),
  })),
  {
    title: 'the user may not enter .etl and a package that the config does not import',
    prepare: async (copy) => {
      await mkdir(join(copy, '.etl'), { mode: 0o700 });
      const packages = join(copy, 'node_modules');
      const shared = await realpath(packages);
      await rm(packages);
      await cp(shared, packages, { recursive: true });
      await chmod(join(packages, 'knex'), 0o700);
    },
  },
];

/** Places that only root can make. */
const MOUNTED: readonly Place[] = [
  {
    title: 'the whole file system is read-only',
    before: [...MOUNTS, `mount -o remount,ro,bind / && ! touch x 2>/dev/null && ${THEN}`, 'sh', ...STRANGER],
  },
  { title: '/etc is empty', before: [...MOUNTS, `mount -t tmpfs none /etc && ${THEN}`, 'sh'] },
  {
    title: 'there is no /proc',
    before: [...MOUNTS, `mount -t tmpfs none /proc && ${THEN}`, 'sh', ...STRANGER],
  },
  { title: 'the process is the first one of a container', before: [...FIRST, ...STRANGER] },
];

describe('etl starts where', function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let folder: string;
  let project: string;
  let program: string;
  let copies = 0;

  before(async () => {
    const server = await ownCluster();
    await server.setSsl(true);
    db = await createDatabase({ server });
    await db.query('create table greeting (word text)');
    folder = await mkdtemp(join(tmpdir(), 'etl-anywhere-'));
    ({ directory: project, program } = await installPacked(folder, CONFIG));
    // The strange user reads the project as everybody does.
    await run('chmod', ['-R', 'go+rX', folder]);
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
    await db.drop();
    await (await ownCluster()).setSsl(false);
  });
  beforeEach(() => db.query('truncate greeting'));

  /** Copies the project. The copy has a link to the packages. */
  async function copyProject(): Promise<string> {
    copies += 1;
    const copy = join(folder, `copy-${copies}`);
    await mkdir(copy);
    for (const file of ['package.json', 'etl.config.ts']) await cp(join(project, file), join(copy, file));
    await symlink(join(project, 'node_modules'), join(copy, 'node_modules'));
    return copy;
  }

  function start(
    args: readonly string[],
    cwd: string,
    { before = [], variables = {} }: Partial<Place> = {},
  ): ChildProcess {
    const [command = '', ...rest] = [...before, process.execPath, program, ...args];
    const env = { DATABASE_URL: db.url, ...variables };
    // `spawn` itself looks for the command in PATH.
    const path = { ...env, PATH: variables['PATH'] ?? process.env['PATH'] };
    return spawn(command, rest, {
      cwd,
      env: before.length === 0 ? env : path,
      timeout: 50_000,
      killSignal: 'SIGKILL',
    });
  }

  async function end(child: ChildProcess): Promise<{ code: number | null; stderr: string }> {
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.stdout?.resume();
    const [code] = await once(child, 'close');
    return { code: code as number | null, stderr };
  }

  function defineTests(places: readonly Place[], before: readonly string[] = []): void {
    for (const place of places)
      it(place.title, async () => {
        const copy = await copyProject();
        const cwd = (await place.prepare?.(copy)) ?? copy;
        const flags = (place.flags ?? ['--quiet']).map((flag) =>
          flag.startsWith('-') ? flag : join(copy, flag),
        );
        const words = [...(place.before ?? []), ...before];
        const ended = await end(start(['run', 'hello', ...flags], cwd, { ...place, before: words }));
        expect(ended.stderr).to.equal('');
        expect(ended.code).to.equal(0);
        expect(await db.query('select word from greeting')).to.deep.equal([{ word: 'hello' }]);
      });
  }

  /** Defines a test of `etl` as the first process of a container, which SIGTERM stops after it has printed `mark`. */
  function defineStopTest(title: string, mark: string, args: readonly string[], variables: Variables): void {
    it(title, async () => {
      const child = start(args, project, { before: [...FIRST, ...STRANGER], variables });
      const ended = end(child);
      for await (const text of child.stderr ?? []) if (String(text).includes(mark)) break;
      const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
      process.kill(Number(children), 'SIGTERM');
      expect((await ended).code).to.equal(143);
      expect(await db.query('select word from greeting')).to.deep.equal([]);
    });
  }

  /** Defines a test of input that this user may not read: unlike settings, it may not be left out. */
  function defineInputTest(): void {
    it('a glob reaches a directory that the user may not list, and fails the load instead of leaving rows out', async () => {
      const copy = await copyProject();
      await mkdir(join(copy, 'in/closed'), { recursive: true });
      await writeFile(join(copy, 'in/a.csv'), 'word\nopen\n');
      await writeFile(join(copy, 'in/closed/b.csv'), 'word\nclosed\n');
      await chmod(join(copy, 'in/closed'), 0o711);
      const load = (id: string) => end(start(['run', id], copy, { before: STRANGER }));
      const { code, stderr } = await load('files');
      expect(code, stderr).to.equal(1);
      expect(stderr).to.match(
        /ETL-3501 the directory "in\/closed" can't be read[^]*match "in\/\*\*\/\*\.csv" \(EACCES\)/,
      );
      expect(await db.query('select word from greeting')).to.deep.equal([]);
      expect(await load('flat'), 'a pattern that does not reach the directory').to.include({ code: 0 });
      expect(await db.query('select word from greeting')).to.deep.equal([{ word: 'open' }]);
    });
  }

  defineTests(ORDINARY);
  if (can(STRANGER)) {
    defineTests(STRANGE, STRANGER);
    defineInputTest();
  } else note('etl under a user without a name');
  if (can(STRANGER) && can([...MOUNTS, 'mount -t tmpfs none /mnt'])) {
    defineTests(MOUNTED);
    const title = 'the process is the first one of a container, and SIGTERM ends it with 143';
    defineStopTest(`${title} in a task`, 'waiting', ['run', 'endless'], {});
    defineStopTest(`${title} while its config loads`, 'loading', ['list'], { SLOW_CONFIG: '1' });
  } else note('etl with other mounts and as the first process');
});

/** Says whether this machine lets the tests run a command below these words, in the folder of temporary files. */
function can(before: readonly string[]): boolean {
  const [command = '', ...rest] = before;
  const code = 'fs.readdirSync(os.tmpdir())';
  return spawnSync(command, [...rest, process.execPath, '-e', code]).status === 0;
}

/** Says in one line that this machine does not allow some tests. */
function note(what: string): void {
  process.stderr.write(`not tested, because this machine does not allow it: ${what}\n`);
}
