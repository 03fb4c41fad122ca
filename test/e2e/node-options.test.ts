import { expect } from 'chai';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** Options of NODE_OPTIONS that change what a program may do or how it fails. `etl` works with each of them. */
const HARMLESS = [
  '--disable-proto=throw',
  '--disable-proto=delete',
  '--frozen-intrinsics',
  '--no-experimental-require-module',
  '--throw-deprecation --pending-deprecation',
  '--unhandled-rejections=strict',
  '--unhandled-rejections=none',
  '--openssl-legacy-provider',
  '--experimental-default-type=module',
  '--disable-warning=ExperimentalWarning',
  '--no-addons',
  '--preserve-symlinks',
  '--stack-trace-limit=0',
  '--max-http-header-size=1',
  '--jitless',
];

describe('an option of Node.js in NODE_OPTIONS', () => {
  let db: TestDatabase;
  let project: Project;
  before(async () => {
    db = await createDatabase();
    project = await createProject({
      'etl.config.ts': `import { dag, defineConfig } from '@oneshot/etl';
        export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
          d.load('load', { from: 'in.csv', into: 'numbers', mode: 'append', create: true, transform: (row) => row });
          d.session('read', {}, async ({ session }) => { await session.raw('select 1'); });
        })] });`,
      'in.csv': 'n\n1\n2\n',
    });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  const run = (options: string) =>
    project.cli(['run', 'd', '--json'], { ETL_CONN_DB: db.url, NODE_OPTIONS: options });
  /** True if this version of Node.js accepts the options in NODE_OPTIONS. */
  const isKnown = (options: string): boolean =>
    options.split(' ').every((option) => process.allowedNodeEnvironmentFlags.has(option));

  for (const options of HARMLESS.filter(isKnown)) {
    it(`does no harm to a run: ${options}`, async () => {
      const { code, stdout, stderr } = await run(options);
      expect(code, stderr).to.equal(0);
      expect(JSON.parse(stdout)).to.have.property('state', 'success');
    });
  }

  it('gives one message without a stack if it forbids what etl needs', async () => {
    const { code, stdout, stderr } = await run('--disallow-code-generation-from-strings');
    expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
    expect(stderr).to.match(/^ETL-2018 an option of Node\.js forbids what etl needs: /);
    expect(stderr).to.include('where NODE_OPTIONS=--disallow-code-generation-from-strings');
    expect(stderr).to.not.match(/^\s+at /m);
  });
});
