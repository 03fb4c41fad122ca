import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** A role whose password no other test and no variable has. */
const ROLE = { user: 'etl_function', password: 'fn S3CRET:/@' };

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  import { appendFileSync } from 'node:fs';
  const { SERVER_HOST: host, SERVER_PORT: port, SERVER_DATABASE: dbname } = process.env;
  const password = ['fn S3', 'CRET:/@'].join('');
  export default defineConfig({
    connections: {
      shop: async ({ id }) => {
        appendFileSync(new URL('calls', import.meta.url), id + '\\n');
        return { host, port, dbname, username: '${ROLE.user}', password };
      },
      sealed: () => { throw new Error('the manager is sealed'); },
    },
    dags: [
      dag('d', { defaults: { conn: 'shop' } }, (d) => {
        const one = d.session('one', {}, async ({ session, log }) => {
          log('the password is ' + password + ' or ' + encodeURIComponent(password));
          await session.raw('select 1');
        });
        d.sql('two', { needs: { one }, sql: 'select 2' });
      }),
      dag('s', { defaults: { conn: 'sealed' } }, (d) => { d.sql('one', { sql: 'select 1' }); }),
    ],
  });
`;

describe('a connection from a function of the config', () => {
  let db: TestDatabase;
  let project: Project;
  let env: Record<string, string>;

  before(async () => {
    db = await createDatabase();
    await db.query(`create role ${ROLE.user} superuser login password '${ROLE.password}'`);
    const { hostname, port } = new URL(db.url);
    env = { SERVER_HOST: hostname, SERVER_PORT: port, SERVER_DATABASE: db.name };
    project = await createProject({ 'etl.config.ts': CONFIG });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.query(`drop owned by ${ROLE.user}; drop role ${ROLE.user}`);
    await db.drop();
  });

  async function countCalls(): Promise<number> {
    const text = await readFile(join(project.directory, 'calls'), 'utf8').catch(() => '');
    return text.split('\n').length - 1;
  }

  it('is asked for once in a run, and its password is in no output', async () => {
    const before = await countCalls();
    const { code, stdout, stderr } = await project.cli(['run', 'd', '--json'], env);
    expect(code, stderr).to.equal(0);
    expect(await countCalls()).to.equal(before + 1);
    expect(stdout + stderr)
      .to.include('the password is *** or ***')
      .and.not.include('S3CRET');
    const rows = await db.query<{ text: string }>(`select * from etl.attempt`).catch(() => []);
    expect(JSON.stringify(rows)).not.to.include('S3CRET');
  });

  it('is opened by etl check and etl connections test, and only named by etl connections list', async () => {
    const before = await countCalls();
    const listed = await project.cli(['connections', 'list'], env);
    expect([listed.code, listed.stderr]).to.deep.equal([0, '']);
    expect(listed.stdout).to.match(/shop +- +\(function\) +connections\.shop in etl\.config\.ts/);
    expect(await countCalls()).to.equal(before);
    const tested = await project.cli(['connections', 'test', 'shop'], env);
    expect([tested.code, tested.stdout.includes(`postgres://${ROLE.user}:***@`)]).to.deep.equal([0, true]);
    const checked = await project.cli(['check', '--json'], env);
    expect(checked.code).to.equal(2);
    expect(await countCalls()).to.equal(before + 2);
    const { connections } = JSON.parse(checked.stdout) as {
      connections: { id: string; error?: { code: string } }[];
    };
    const codes = connections.map(({ id, error }) => `${id} ${error?.code ?? 'ok'}`);
    expect(codes).to.have.members(['shop ok', 'sealed ETL-2216']);
    expect(tested.stdout + checked.stdout + checked.stderr).not.to.include('S3CRET');
  });

  it('stops a run before its start with exit code 2 if the function fails', async () => {
    const { code, stderr } = await project.cli(['run', 's'], env);
    expect(code).to.equal(2);
    expect(stderr)
      .to.match(/ETL-2216 the function of connection "sealed" failed/)
      .and.include('the manager is sealed');
  });
});
