import { expect } from 'chai';
import type * as places from '../../../src/runtime/modules/location.js';
import type { Dag } from '../../../src/runtime/dag/dag.js';
import { project, type Files } from '../config/config-project.js';

const head = "import { dag } from '@oneshot/etl';\ntype Text = string;\n";
const tail = '\nexport default { dags: [monthly] };\n';

/** Places are read by the instance that made them. */
async function location(): Promise<typeof places> {
  return await import(new URL('../../../src/runtime/modules/location.ts', import.meta.url).href);
}

describe('the place of a definition', () => {
  const rows: { title: string; files: Files; expected: string }[] = [
    {
      title: 'a line whose types are taken away',
      files: {
        'etl.config.ts': `${head}const id: Text = 'a' as Text;   const monthly = dag(id, {}, () => {});${tail}`,
      },
      expected: 'etl.config.ts:3:49',
    },
    {
      title: 'the first line of a file',
      files: {
        'etl.config.ts': "import { dag } from '@oneshot/etl'; const monthly = dag('a', {}, () => {});" + tail,
      },
      expected: 'etl.config.ts:1:53',
    },
    {
      title: 'an imported file that Node runs as it is',
      files: {
        'etl.config.ts': "import { monthly } from './dags/monthly.mjs';" + tail,
        'dags/monthly.mjs':
          "import { dag } from '@oneshot/etl';\n  export const monthly = dag('a', {}, () => {});\n",
      },
      expected: 'dags/monthly.mjs:2:26',
    },
    {
      title: 'code in eval, which counts for its caller',
      files: {
        'etl.config.ts': `${head}const make = dag;\nconst monthly = eval("make('a', {}, () => {})");${tail}`,
      },
      expected: 'etl.config.ts:4:17',
    },
  ];
  for (const { title, files, expected } of rows) {
    it(`has line and column of the user's file in ${title}`, async () => {
      using fixture = project(files);
      const { dags } = (await fixture.load()).config;
      const { formatLocation: placeText } = await location();
      expect(dags.map((each: Dag) => placeText(each.location))).to.deep.equal([expected]);
    });
  }

  it('has the line and column of a task', async () => {
    using fixture = project({
      'etl.config.ts': `${head}const monthly = dag('a', {}, (d) => {\n  const x: Text = 'x';  d.task(x, {}, async () => null);\n});${tail}`,
    });
    const [dag] = (await fixture.load()).config.dags;
    const { formatLocation: placeText } = await location();
    expect(dag?.tasks.map((each) => placeText(each.location))).to.deep.equal(['etl.config.ts:4:27']);
  });

  it('is one for the tasks of a loop, and another for each call beside it, in whichever file', async () => {
    const call = 'd.task(`${name}${i}`, {}, async () => null);';
    using fixture = project({
      'etl.config.ts': `${head}import { more } from './more.js';\nconst monthly = dag('a', {}, (d) => {\n  const name = 'a';\n  for (let i = 0; i < 3; i++) { ${call} ${call.replace('${i}', '${i}b')} }\n  more(d);\n});${tail}`,
      'more.ts': `export function more(d: any) { const name = 'm';\n  for (let i = 0; i < 2; i++) ${call}\n}`,
    });
    const [dag] = (await fixture.load()).config.dags;
    const { formatLocation: placeText } = await location();
    expect(dag?.tasks.map((each) => `${each.id} ${placeText(each.location)}`)).to.deep.equal([
      'a0 etl.config.ts:6:35',
      'a0b etl.config.ts:6:80',
      'a1 etl.config.ts:6:35',
      'a1b etl.config.ts:6:80',
      'a2 etl.config.ts:6:35',
      'a2b etl.config.ts:6:80',
      'm0 more.ts:2:33',
      'm1 more.ts:2:33',
    ]);
    expect(dag?.tasks[0]?.location).to.equal(dag?.tasks[2]?.location);
  });

  it('is relative to the directory of the config, for each of two configs that one process loads', async () => {
    const files = (id: string): Files => ({
      'etl.config.ts': `${head}const monthly = dag('${id}', {}, (d) => {\n  d.unload('u', { table: 't', to: 'o.csv' });\n});${tail}`,
    });
    using first = project(files('a'));
    using second = project(files('b'));
    const { formatLocation: placeText } = await location();
    const captured: places.Location[] = [];
    for (const fixture of [first, second]) {
      const [monthly] = (await fixture.load()).config.dags;
      const own = [monthly, monthly?.tasks[0]].flatMap((each) => each?.location ?? []);
      expect(own.map(placeText)).to.deep.equal(['etl.config.ts:3:17', 'etl.config.ts:4:5']);
      captured.push(...own);
    }
    expect(captured.map(({ root }) => root.directory)).to.deep.equal([
      first.directory,
      first.directory,
      second.directory,
      second.directory,
    ]);
  });

  it('is near by for most of the tasks of a Dag that has more than a thousand', async () => {
    using fixture = project({
      'etl.config.ts': `${head}const monthly = dag('a', {}, (d) => {\n  for (let i = 0; i < 1100; i++) d.task('t' + i, {}, async () => null);\n});${tail}`,
    });
    const [dag] = (await fixture.load()).config.dags;
    const { formatLocation: placeText } = await location();
    const texts = dag?.tasks.map((each) => placeText(each.location)) ?? [];
    expect(new Set(texts.slice(0, 1000))).to.deep.equal(new Set(['etl.config.ts:4:36']));
    expect(new Set(texts.slice(1000))).to.deep.equal(
      new Set(['etl.config.ts:4:36', 'near etl.config.ts:4:36']),
    );
  });

  it('keeps one frame, and leaves the limit of stacks as it was', async () => {
    const { captureLocation: capturePlace, formatLocation: placeText, setRoot } = await location();
    const limit = Error.stackTraceLimit;
    const define = (): places.Location => capturePlace(define);
    const captured = define();
    expect(Error.stackTraceLimit).to.equal(limit);
    expect(captured.stack?.split('\n')).to.have.length(2);
    expect(placeText(captured)).to.match(/^test\/runtime\/modules\/location\.test\.ts:\d+:\d+$/);
    setRoot(captured, import.meta.dirname);
    expect(placeText(captured)).to.match(/^location\.test\.ts:\d+:\d+$/);
  });
});
