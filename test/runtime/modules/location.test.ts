import { expect } from 'chai';
import type * as locations from '../../../src/runtime/modules/location.js';
import type { Dag } from '../../../src/runtime/dag/dag.js';
import { project, type Files } from '../config/config-project.js';

const head = "import { dag } from '@oneshot/etl';\ntype Text = string;\n";
const tail = '\nexport default { dags: [monthly] };\n';

/** Imports the instance of the module that captures the locations in configs. */
async function importLocations(): Promise<typeof locations> {
  return await import(new URL('../../../src/runtime/modules/location.ts', import.meta.url).href);
}

describe('the location of a definition', () => {
  const rows: { title: string; files: Files; expected: string }[] = [
    {
      title: 'a line whose types are removed',
      files: {
        'etl.config.ts': `${head}const id: Text = 'a' as Text;   const monthly = dag(id, {}, (d) => d.sql('t', { sql: 'select 1' }));${tail}`,
      },
      expected: 'etl.config.ts:3:49',
    },
    {
      title: 'the first line of a file',
      files: {
        'etl.config.ts':
          "import { dag } from '@oneshot/etl'; const monthly = dag('a', {}, (d) => d.sql('t', { sql: 'select 1' }));" +
          tail,
      },
      expected: 'etl.config.ts:1:53',
    },
    {
      title: 'an imported file that Node runs as it is',
      files: {
        'etl.config.ts': "import { monthly } from './dags/monthly.mjs';" + tail,
        'dags/monthly.mjs':
          "import { dag } from '@oneshot/etl';\n  export const monthly = dag('a', {}, (d) => d.sql('t', { sql: 'select 1' }));\n",
      },
      expected: 'dags/monthly.mjs:2:26',
    },
    {
      title: 'code in eval, which gets the position of the call of eval',
      files: {
        'etl.config.ts': `${head}const make = dag;\nconst monthly = eval("make('a', {}, (d) => d.sql('t', { sql: 'select 1' }))");${tail}`,
      },
      expected: 'etl.config.ts:4:17',
    },
  ];
  for (const { title, files, expected } of rows) {
    it(`has the line and column of the user's file for ${title}`, async () => {
      using fixture = project(files);
      const { dags } = (await fixture.load()).config;
      const { formatLocation } = await importLocations();
      expect(dags.map((each: Dag) => formatLocation(each.location))).to.deep.equal([expected]);
    });
  }

  it('has the line and column of a task', async () => {
    using fixture = project({
      'etl.config.ts': `${head}const monthly = dag('a', {}, (d) => {\n  const x: Text = 'x';  d.task(x, {}, async () => null);\n});${tail}`,
    });
    const [dag] = (await fixture.load()).config.dags;
    const { formatLocation } = await importLocations();
    expect(dag?.tasks.map((each) => formatLocation(each.location))).to.deep.equal(['etl.config.ts:4:27']);
  });

  it('is the same for the tasks of a loop, and differs between calls and files', async () => {
    const call = 'd.task(`${name}${i}`, {}, async () => null);';
    using fixture = project({
      'etl.config.ts': `${head}import { more } from './more.js';\nconst monthly = dag('a', {}, (d) => {\n  const name = 'a';\n  for (let i = 0; i < 3; i++) { ${call} ${call.replace('${i}', '${i}b')} }\n  more(d);\n});${tail}`,
      'more.ts': `export function more(d: any) { const name = 'm';\n  for (let i = 0; i < 2; i++) ${call}\n}`,
    });
    const [dag] = (await fixture.load()).config.dags;
    const { formatLocation } = await importLocations();
    expect(dag?.tasks.map((each) => `${each.id} ${formatLocation(each.location)}`)).to.deep.equal([
      'a0 etl.config.ts:6:35',
      'a0b etl.config.ts:6:80',
      'a1 etl.config.ts:6:35',
      'a1b etl.config.ts:6:80',
      'a2 etl.config.ts:6:35',
      'a2b etl.config.ts:6:80',
      'm0 more.ts:2:33',
      'm1 more.ts:2:33',
    ]);
  });

  it('is relative to the directory of the config, for each of two configs that one process loads', async () => {
    const files = (id: string): Files => ({
      'etl.config.ts': `${head}const monthly = dag('${id}', {}, (d) => {\n  d.unload('u', { table: 't', to: 'o.csv' });\n});${tail}`,
    });
    using first = project(files('a'));
    using second = project(files('b'));
    const { formatLocation } = await importLocations();
    const captured: locations.Location[] = [];
    for (const fixture of [first, second]) {
      const [monthly] = (await fixture.load()).config.dags;
      const own = [monthly, monthly?.tasks[0]].flatMap((each) => each?.location ?? []);
      expect(own.map(formatLocation)).to.deep.equal(['etl.config.ts:3:17', 'etl.config.ts:4:5']);
      captured.push(...own);
    }
    expect(captured.map(({ root }) => root.directory)).to.deep.equal([
      first.directory,
      first.directory,
      second.directory,
      second.directory,
    ]);
  });

  it('is that of a task shortly before for most tasks after the first 1,000 of a Dag', async () => {
    using fixture = project({
      'etl.config.ts': `${head}const monthly = dag('a', {}, (d) => {\n  for (let i = 0; i < 1100; i++) d.task('t' + i, {}, async () => null);\n});${tail}`,
    });
    const [dag] = (await fixture.load()).config.dags;
    const { formatLocation } = await importLocations();
    const texts = dag?.tasks.map((each) => formatLocation(each.location)) ?? [];
    expect(new Set(texts.slice(0, 1000))).to.deep.equal(new Set(['etl.config.ts:4:36']));
    expect(new Set(texts.slice(1000))).to.deep.equal(
      new Set(['etl.config.ts:4:36', 'near etl.config.ts:4:36']),
    );
  });

  it('stores one stack frame and does not change the stack limit', async () => {
    const { captureLocation, formatLocation, setRoot } = await importLocations();
    const limit = Error.stackTraceLimit;
    const define = (): locations.Location => captureLocation(define);
    const captured = define();
    expect(Error.stackTraceLimit).to.equal(limit);
    expect(captured.stack?.split('\n')).to.have.length(2);
    expect(formatLocation(captured)).to.match(/^test\/runtime\/modules\/location\.test\.ts:\d+:\d+$/);
    setRoot(captured, import.meta.dirname);
    expect(formatLocation(captured)).to.match(/^location\.test\.ts:\d+:\d+$/);
  });
});
