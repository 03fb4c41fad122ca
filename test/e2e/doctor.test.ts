import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BIN, createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const run = promisify(execFile);

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  const one = (d) => void d.sql('one', { sql: 'select 1' });
  export default defineConfig({
    dags: [
      dag('nightly', { schedule: '0 2 * * *', timezone: 'Asia/Tokyo', defaults: { conn: 'shop' } }, one),
      dag('hourly', { schedule: '0 * * * *', defaults: { conn: 'shop' } }, one),
      dag('manual', { defaults: { conn: 'shop' } }, one),
    ],
    connections: { shop: process.env['SHOP_URL'] },
  });`;

/** A finding in the JSON of `etl doctor`. */
interface Check {
  readonly check: string;
  readonly subject?: string;
  readonly status: string;
  readonly text: string;
  readonly [name: string]: unknown;
}

describe('etl doctor', () => {
  let db: TestDatabase;
  before(async () => (db = await createDatabase()));
  after(() => db.drop());

  /** Runs `etl doctor --json` in a project, and returns the exit code and the findings. */
  async function examine(
    project: Project,
    env: Readonly<Record<string, string>> = {},
    args: readonly string[] = [],
  ): Promise<{
    code: number | null;
    checks: readonly Check[];
    ok: boolean;
    find(check: string, subject?: string): Check | undefined;
  }> {
    const { code, stdout, stderr } = await project.cli(['doctor', '--json', ...args], { TZ: 'UTC', ...env });
    expect(stdout, stderr).to.match(/^\{/);
    const { checks, ok } = JSON.parse(stdout) as { checks: Check[]; ok: boolean };
    const find = (check: string, subject?: string): Check | undefined =>
      checks.find((each) => each.check === check && each.subject === subject);
    return { code, checks, ok, find };
  }

  it('exits with 0 if nothing fails, and says what each database, Dag and cache is', async () => {
    await using project = await createProject({ 'etl.config.ts': CONFIG });
    const first = await examine(project, { SHOP_URL: db.url });
    expect({ code: first.code, ok: first.ok }, JSON.stringify(first.checks)).to.deep.equal({
      code: 0,
      ok: true,
    });
    expect(first.find('node')).to.include({ status: 'ok', version: process.version });
    expect(first.find('config')).to.include({ by: 'search', status: 'ok' });
    const [server] = await db.query<{ version: string }>(
      `select current_setting('server_version') as version`,
    );
    expect(first.find('connection', 'shop')).to.include({
      status: 'ok',
      tls: false,
      server: `PostgreSQL ${server?.version}`,
    });
    expect(first.find('clock', 'shop')).to.include({ status: 'ok' });
    expect(first.find('ledger', 'shop')?.text).to.include('is not installed: the first run installs it');
    expect(first.find('cache')?.status).to.equal('ok');
    expect(first.find('time zone', 'nightly')).to.include({
      status: 'warn',
      timezone: 'Asia/Tokyo',
      machine: 'UTC',
    });
    expect(first.find('time zone', 'hourly')).to.include({ status: 'ok', timezone: 'UTC' });
    expect(first.find('time zone', 'manual')).to.equal(undefined);
    await project.cli(['run', 'manual'], { SHOP_URL: db.url });
    const then = await examine(project, { SHOP_URL: db.url });
    expect(then.find('ledger', 'shop')).to.include({ status: 'ok', schema: 'etl' });
    expect(then.find('ledger', 'shop')?.text).to.include('up to date');
    const { stdout } = await project.cli(['doctor'], { SHOP_URL: db.url, TZ: 'UTC' });
    expect(stdout).to.match(
      /^✔ connection +shop +postgres:\/\/\S*:\*\*\*@\S+ {2}PostgreSQL [\d.]+, no TLS, on this machine, [\d.]+ ms$/m,
    );
    expect(stdout).to.match(
      /^! time zone +nightly +the Dag counts in Asia\/Tokyo, this machine in UTC\n {4}do /m,
    );
  });

  it('says which file sets variables, and what has named the config', async () => {
    await using project = await createProject({
      'other.config.ts': CONFIG,
      '.env': `SHOP_URL=${db.url}\nMORE=1\n`,
    });
    await chmod(join(project.directory, '.env'), 0o600);
    const byFlag = await examine(project, {}, ['--config', 'other.config.ts']);
    expect(byFlag.find('config')).to.include({ by: 'flag' });
    expect(byFlag.find('variables', '.env')).to.include({ status: 'ok', variables: 2 });
    const byVariable = await examine(project, { ETL_CONFIG: 'other.config.ts' });
    expect(byVariable.find('config')).to.include({ by: 'variable' });
    await project.write({ 'package.json': '{ "etl": {} }', 'deep/etl.config.ts': CONFIG });
    await mkdir(join(project.directory, 'deep/below'));
    const { stdout } = await run(process.execPath, [BIN, 'doctor', '--conn', `shop=${db.url}`], {
      cwd: join(project.directory, 'deep/below'),
      env: { PATH: process.env['PATH'], HOME: project.directory },
    });
    expect(stdout).to.match(/^✔ config .*found by the search above the working directory/m);
  });

  const FAILURES: readonly (readonly [
    title: string,
    env: () => Record<string, string>,
    code: number,
    error: string,
  ])[] = [
    [
      'a server that refuses the connection',
      () => ({ SHOP_URL: 'postgres://me:secret-word@127.0.0.1:1/x' }),
      69,
      'ETL-1001',
    ],
    ['a URL that is malformed', () => ({ SHOP_URL: 'secret-word' }), 2, 'ETL-2201'],
    ['a variable that is not set', () => ({}), 2, 'ETL-2202'],
  ];
  for (const [title, env, code, error] of FAILURES)
    it(`fails for ${title}, and still shows the rest without the secret`, async () => {
      await using project = await createProject({ 'etl.config.ts': CONFIG });
      const found = await examine(project, env());
      expect({ code: found.code, ok: found.ok }).to.deep.equal({ code, ok: false });
      expect(found.find('connection', 'shop')).to.include({ status: 'fail' });
      expect(found.find('connection', 'shop')?.['error']).to.include({ code: error });
      expect(found.find('time zone', 'hourly')).to.include({ status: 'ok' });
      expect(JSON.stringify(found.checks)).to.not.include('secret-word');
    });

  it('fails for a config that can not be loaded, and still shows versions and caches', async () => {
    await using project = await createProject({ 'etl.config.ts': 'throw new Error("broken");' });
    const { code, find } = await examine(project);
    expect(code).to.equal(2);
    expect(find('config')?.['error']).to.include({ code: 'ETL-2104' });
    expect(find('etl')?.status).to.equal('ok');
    expect(find('cache')).to.not.equal(undefined);
  });

  it('warns about a connection that fails and that no Dag uses', async () => {
    await using project = await createProject({ 'etl.config.ts': CONFIG });
    const env = {
      SHOP_URL: db.url,
      ETL_CONN_OLD: 'postgres://127.0.0.1:1/x',
      AIRFLOW_CONN_WEB: 'http://web',
    };
    const { code, find } = await examine(project, env);
    expect(code).to.equal(0);
    expect(find('connection', 'old')).to.include({ status: 'warn' });
    expect(find('connection', 'web')).to.equal(undefined);
  });

  it('does not make an embedded database', async () => {
    await using project = await createProject({ 'etl.config.ts': CONFIG });
    const { code, find } = await examine(project, { SHOP_URL: 'pglite:.etl/none' });
    expect(code).to.equal(0);
    expect(find('connection', 'shop')?.text).to.include('which the first run makes');
  });

  const WRAPPERS: readonly (readonly [title: string, env: Record<string, string>, wrapper: string | null])[] =
    [
      ['nothing', {}, null],
      [
        'npx',
        { npm_config_user_agent: 'npm/11.0.0 node/v24', npm_command: 'exec', npm_lifecycle_event: 'npx' },
        'npm exec',
      ],
      [
        'npm run',
        { npm_config_user_agent: 'npm/11.0.0 node/v24', npm_lifecycle_event: 'nightly' },
        'npm run nightly',
      ],
      [
        'pnpm run',
        { npm_config_user_agent: 'pnpm/10.1.0 npm/? node/v24', npm_lifecycle_event: 'nightly' },
        'pnpm run nightly',
      ],
      ['yarn exec', { npm_config_user_agent: 'yarn/1.22.0 npm/? node/v24' }, 'yarn exec'],
    ];
  for (const [title, env, wrapper] of WRAPPERS)
    it(`finds the program that has started it and may pass no signals on: ${title}`, async () => {
      await using project = await createProject({ 'etl.config.ts': CONFIG });
      const { code, find } = await examine(project, { SHOP_URL: db.url, ...env });
      expect(code).to.equal(0);
      expect(find('signals')).to.include({ status: wrapper === null ? 'ok' : 'warn', wrapper });
    });

  it('warns if no private directory for compiled code can be made, unless the cache is off', async () => {
    await using project = await createProject({ 'etl.config.ts': CONFIG, 'a-file': '' });
    const env = { SHOP_URL: db.url, XDG_CACHE_HOME: join(project.directory, 'a-file') };
    const { find } = await examine(project, env);
    expect(find('cache')).to.include({ status: 'warn' });
    const off = await examine(project, { ...env, ETL_NO_CACHE: '1' });
    expect(off.find('cache')).to.include({ status: 'ok', text: 'off, because ETL_NO_CACHE is set' });
  });
});
