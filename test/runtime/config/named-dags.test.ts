import { expect } from 'chai';
import { project, type Files } from './config-project.js';

const MODULES: Files = {
  'package.json': '{ "type": "module" }',
  'dags/nightly.ts': `import { dag } from '@oneshot/etl';
    const define = (id: string) => dag(id, {}, (d) => { d.task('one', {}, async () => 1); });
    export default define('first'); export const second = define('second'); export const more = [define('third'), second];`,
  'weekly.mjs': `import { dag } from '@oneshot/etl'; export const weekly = dag('weekly', {}, (d) => { d.sql('a', { sql: 'select 1', conn: 'db' }); });`,
};
const ROWS: readonly (readonly [string, string])[] = [
  ['etl.config.json', '{ "dags": ["./dags/nightly.ts", "weekly.mjs"], "concurrency": 2 }'],
  ['.etlrc.yaml', 'concurrency: 2\ndags:\n  - ./dags/nightly.ts\n  - ./weekly.mjs\n'],
  ['.etlrc', 'dags: [./dags/nightly, ./weekly.mjs]\nconcurrency: 2\n'],
  [
    'package.json',
    '{ "type": "module", "etl": { "dags": ["./dags/nightly.js", "./weekly.mjs"], "concurrency": 2 } }',
  ],
];

describe('a config without code', () => {
  for (const [name, text] of ROWS) {
    it(`has the Dags of the modules that ${name} names, each once`, async () => {
      using fixture = project({ ...MODULES, [name]: text });
      const { config } = await fixture.load();
      expect(config.dags.map(({ id }) => id)).to.have.members(['first', 'second', 'third', 'weekly']);
      expect(config.concurrency).to.equal(2);
    });
  }

  it('has settings alone if it names no modules', async () => {
    using fixture = project({ 'etl.config.json': '{ "connections": { "db": "postgres://h/d" } }' });
    expect((await fixture.load()).config.dags).to.deep.equal([]);
  });
});
