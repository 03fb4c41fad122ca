import { expect } from 'chai';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { createProject, type CliResult, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** One secret for each place that etl knows secrets from. No Dag uses these connections. */
const VARIABLES = {
  ETL_CONN_UNUSED: 'postgres://u:etl-conn%21S3CRET%2Aa@h/x',
  AIRFLOW_CONN_FLOW: '{"conn_type":"x","password":"airflow-S3CRET-b","extra":{"token":"extra-S3CRET-c"}}',
  DATABASE_URL: 'postgres://u:database-url-S3CRET-d@h/x',
  PGPASSWORD: 'pgpassword-S3CRET-e',
  ETL_CONN_BROKEN: 'postgres://u:broken/S3CRET#f@h/x',
  WAREHOUSE_URL: 'https://u:warehouse-S3CRET-g@h/x',
  API_TOKEN: 'api-token-S3CRET-h',
};
const FILES = {
  '.env': 'ETL_CONN_FILED=postgres://u:env-file-S3CRET-i@h/x\n',
  '.pgpass': 'h:5432:*:u:pass\\:file-S3CRET-j\n',
  '.pg_service.conf': '[a]\npassword=service-S3CRET-k\n',
};
const FLAG = ['--conn', 'flagged=postgres://u:flag-S3CRET-l@h/x'];
/** The texts that no output may contain, also with other characters percent-encoded. */
const SECRET_TEXTS = [
  'etl-conn%21S3CRET%2Aa',
  'etl-conn!S3CRET*a',
  'etl-conn%21S3CRET%2aa',
  'airflow-S3CRET-b',
  'extra-S3CRET-c',
  'database-url-S3CRET-d',
  'pgpassword-S3CRET-e',
  'broken/S3CRET#f',
  'broken%2fS3CRET%23f',
  'warehouse-S3CRET-g',
  'api-token-S3CRET-h',
  'env-file-S3CRET-i',
  'pass:file-S3CRET-j',
  'pass\\:file-S3CRET-j',
  'service-S3CRET-k',
  'flag-S3CRET-l',
  'literal-S3CRET-m',
  'assigned-S3CRET-n',
  'input-S3CRET-o',
  'signature-S3CRET-p',
  'imported-S3CRET-q',
];
const QUOTED = `const texts = ${JSON.stringify(SECRET_TEXTS)};`;

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  import { texts } from './texts.js';
  import './imported.ts';
  const password = 'assigned-S3CRET-n';
  const cause = new AggregateError(texts.map((text) => new Error(text)), texts.join(' '));
  export default defineConfig({
    connections: { literal: 'postgres://u:literal-S3CRET-m@h/x' },
    dags: [dag('d', { defaults: { conn: 'db', retries: 1, backoff: { initial: '1ms' } } }, (d) => {
      d.session('logs', {}, async ({ log }) => {
        for (const text of texts) log(text, { [text]: text, basic: btoa('u:' + text), nested: JSON.stringify({ text }) });
        throw Object.assign(new Error('failed: ' + texts.join(' '), { cause }), { name: texts[0] });
      });
      d.sql('sql', { sql: texts.map((text) => "select '" + text + "'::int").join(';') });
      d.sql('long', { sql: 'select ' + 'x'.repeat(60) + texts.map((text) => " '" + text + "'").join() });
      d.sql('notice', { sql: "do $$ begin raise exception '%', '" + texts.join(' ') + "' using hint = '" + texts.join(' ') + "'; end $$" });
      d.load('web', { from: 'http://u:input-S3CRET-o@127.0.0.1:1/x.csv?X-Amz-Signature=signature-S3CRET-p', into: 't', mode: 'append' });
      d.task('plain', {}, async () => { throw texts.join(' '); });
    })],
  });`;

describe('the secrets of a process', () => {
  let db: TestDatabase;
  let project: Project;

  before(async () => {
    db = await createDatabase();
    project = await createProject({
      ...FILES,
      'texts.js': `${QUOTED} export { texts };`,
      'imported.ts': `export const url = 'postgres://u:imported-S3CRET-q@h/x';`,
    });
    for (const name of Object.keys(FILES)) await chmod(join(project.directory, name), 0o600);
    await db.query('create table t (v text)');
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  async function call(config: string, args: readonly string[]): Promise<CliResult> {
    await project.write({ 'etl.config.ts': config });
    return project.cli([...args, ...FLAG], { ...VARIABLES, ETL_CONN_DB: db.url });
  }

  /** Fails if a text contains a secret. Every secret contains the word S3CRET, also a half of a secret. */
  function expectHidden(text: string): void {
    expect(text.split('\n').filter((line) => line.includes('S3CRET'))).to.deep.equal([]);
    expect(text).to.include('***');
  }

  const reporters: [title: string, args: readonly string[]][] = [
    ['the plain report', []],
    ['the coloured report', ['--color']],
    ['the report of --quiet', ['--quiet']],
    ['JSON', ['--json']],
    ['NDJSON', ['--reporter', 'ndjson']],
    ['the report with values of rows', ['--show-data']],
  ];
  for (const [title, args] of reporters) {
    it(`are hidden in ${title} of a run, whether or not its Dag uses their connections`, async () => {
      const { code, stdout, stderr } = await call(CONFIG, ['run', 'd', ...args]);
      expect(code, stderr).to.equal(1);
      expectHidden(stdout + stderr);
    });
  }

  it('are hidden in the ledger', async () => {
    await call(CONFIG, ['run', 'd', '--show-data']);
    const rows = await db.query('select to_jsonb(a)::text as row from etl.attempt a');
    expectHidden(rows.map(({ row }) => String(row)).join('\n'));
  });

  const endings: [title: string, code: string][] = [
    ['throws an error', `throw new Error(texts.join(' '));`],
    ['throws a text', `throw texts.join(' ');`],
    [
      'rejects a promise that nobody awaits',
      `Promise.reject(new Error(texts.join(' '))); await new Promise((done) => setTimeout(done, 100));`,
    ],
    [
      'throws in a callback',
      `setTimeout(() => { throw new Error(texts.join(' ')); }); await new Promise((done) => setTimeout(done, 100));`,
    ],
    [
      'emits a warning',
      `process.emitWarning(texts.join(' ')); await new Promise((done) => setTimeout(done, 10)); throw new Error('end');`,
    ],
    ['has a wrong shape', `export default { [texts.join(' ')]: 1 };`],
  ];
  for (const [title, code] of endings) {
    for (const args of [['check'], ['connections', 'list', '--json']]) {
      it(`are hidden if the config ${title}: etl ${args.join(' ')}`, async () => {
        // The config is TypeScript with a literal URL that no call of defineConfig has seen.
        const config = `import { texts } from './texts.js'; import './imported.ts'; const password = 'assigned-S3CRET-n';
          const literal = 'postgres://u:literal-S3CRET-m@h/x'; const web = 'https://u:input-S3CRET-o@h/x?sig=signature-S3CRET-p'; ${code}`;
        const result = await call(config, args);
        expect(result.code).to.be.oneOf([1, 2]);
        expectHidden(result.stdout + result.stderr);
      });
    }
  }
});
