import { expect } from 'chai';
import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { project, type Files } from '../config/config-project.js';

const require = createRequire(import.meta.url);

/** A config pushes values to this array while it loads. */
const seen = globalThis as { etlSeen?: unknown[] };
const push = (...values: readonly string[]): string => `globalThis.etlSeen.push(${values.join(', ')});`;

/** Loads a config twice, the second time from the cache, and returns the values that the config pushes each time. */
async function loadTwice(files: Files): Promise<unknown[]> {
  using fixture = project(files);
  const both: unknown[][] = [];
  for (const _time of ['first', 'second']) {
    seen.etlSeen = [];
    await fixture.load();
    both.push(seen.etlSeen);
  }
  expect(both[1], 'from the cache').to.deep.equal(both[0]);
  return both[0] ?? [];
}

interface Row {
  readonly title: string;
  readonly files: Files;
  readonly sees: readonly unknown[];
}

const ts = (text: string, more: Files = {}): Files => ({
  'etl.config.ts': `${text}\nexport default {};`,
  ...more,
});
const PACKAGE = 'node_modules/p/package.json';

/** CommonJS code as compilers make it from an ES module. */
const WAS_MODULE =
  "Object.defineProperty(exports, '__esModule', { value: true }); exports.default = 1; exports.a = 2;";

const ROWS: Row[] = [
  {
    title: 'classes with declared, private and parameter properties',
    files: ts(
      `abstract class A { declare a: string; #b = 2; c?: number; constructor(readonly d: number, private e = 5) {} all() { return [this.#b, this.d, this.e, 'a' in this, 'c' in this]; } abstract f(): void; }
       class B extends A { override f(): void {} }
       ${push('...new B(4).all()')}`,
    ),
    sees: [2, 4, 5, false, true],
  },
  {
    title: 'enums, const enums and namespaces',
    files: ts(
      `enum E { A = 1, B = A << 2, C = 'c' as any } const enum F { G = 'g' }
       namespace N { export const h = 'h'; }
       ${push('E.B', 'E[4]', 'F.G', 'N.h')}`,
    ),
    sees: [4, 'B', 'g', 'h'],
  },
  {
    title: 'decorators of classes',
    files: ts(
      `const mark = (target: any): void => { target.marked = 1; };\n@mark class A {}\n${push('(A as any).marked')}`,
    ),
    sees: [1],
  },
  {
    title: 'import.meta, __dirname and __filename',
    files: ts(
      `import { basename } from 'node:path';
       ${push("import.meta.url.endsWith('/etl.config.ts')", 'basename(import.meta.filename)', 'import.meta.dirname === __dirname', 'basename(__filename)')}`,
    ),
    sees: [true, 'etl.config.ts', true, 'etl.config.ts'],
  },
  {
    title: 'import.meta as a value',
    files: ts(
      `const { dirname, filename } = import.meta; const meta = import.meta;
       ${push('dirname === __dirname', 'filename === __filename', "meta.url.endsWith('/etl.config.ts')", 'typeof meta.resolve')}`,
    ),
    sees: [true, true, true, 'function'],
  },
  {
    title: 'a dynamic import of a file and of a package of Node',
    files: ts(
      `const { default: one, two } = await import('./lazy.js'); const { sep } = await import('node:path');
       ${push('one', 'two', 'typeof sep')}`,
      { 'lazy.ts': 'export default 1; export const two: number = 2;' },
    ),
    sees: [1, 2, 'string'],
  },
  {
    title: 'text that only looks like an import',
    files: ts(
      `// import('./a.js') and import.meta.url\nconst text = "import('./b.js') await x('y')"; ${push('text', '`import.meta ${text.length}`')}`,
    ),
    sees: ["import('./b.js') await x('y')", 'import.meta 29'],
  },
  {
    title: 'a require of JSON, and an import of it',
    files: ts(`import data from './data.json'; ${push('data.a', "require('./data.json').a")}`, {
      'data.json': '{ "a": 1 }',
    }),
    sees: [1, 1],
  },
  {
    title: 'files without an extension, an index, and a directory above',
    files: {
      ...ts(`import { a } from './a'; import { b } from './b'; ${push('a', 'b')}`),
      'a.ts': "export { c as a } from './b/c';",
      'b/index.ts': 'export const b = 2;',
      'b/c.ts': "import '../a.js'; export const c = 1;",
    },
    sees: [1, 2],
  },
  {
    title: 'files that import each other',
    files: ts(`import { even } from './even.js'; ${push('even(4)')}`, {
      'even.ts':
        "import { odd } from './odd.js'; export function even(n: number): boolean { return n === 0 || odd(n - 1); }\nexport const two = 2;",
      'odd.ts':
        "import { even } from './even.js'; export const zero = even(0); export function odd(n: number): boolean { return n !== 0 && even(n - 1); }",
    }),
    sees: [true],
  },
  {
    title: 'a top-level await in an imported file, which later imports wait for',
    files: ts(`import './slow.js'; import './next.js'; ${push("'config'")}`, {
      'slow.ts': `await new Promise((resolve) => setTimeout(resolve, 5)); ${push("'slow'")}\nexport {};`,
      'next.ts': `${push("'next'")}\nexport {};`,
    }),
    sees: ['slow', 'next', 'config'],
  },
  {
    title: 'a package of ES modules, one of CommonJS, and one that is both',
    files: ts(
      `import esm, { name } from 'p'; import cjs from 'q'; import { named } from 'q'; import both from 'r/sub'; import { __esModule as _no } from 'p';
       ${push('esm', 'name', 'cjs.named', 'named', 'both')}`,
      {
        [PACKAGE]: '{ "type": "module", "exports": { "import": "./index.js" } }',
        'node_modules/p/index.js': "export default 'esm'; export const name = 'name';",
        'node_modules/q/package.json': '{ "main": "main.js" }',
        'node_modules/q/main.js': "exports.named = 'cjs';",
        'node_modules/r/package.json':
          '{ "exports": { "./sub": { "import": "./sub.mjs", "require": "./sub.cjs" } } }',
        'node_modules/r/sub.mjs': "export default 'import';",
        'node_modules/r/sub.cjs': "module.exports = 'require';",
      },
    ),
    sees: ['esm', 'name', 'cjs', 'cjs', 'import'],
  },
  {
    title: 'CommonJS packages that were compiled from ES modules, one of them with exports',
    files: ts(
      `import p, { a } from 'p'; import q, { a as b } from 'q'; import * as all from 'q'; const lazy = await import('q');
       ${push('p', 'a', 'q', 'b', 'all.default', 'lazy.default', "require('q').a")}`,
      {
        [PACKAGE]: '{ "main": "./main.js" }',
        'node_modules/p/main.js': WAS_MODULE,
        'node_modules/q/package.json': '{ "exports": "./main.js" }',
        'node_modules/q/main.js': WAS_MODULE,
      },
    ),
    sees: [1, 2, 1, 2, 1, 1, 2],
  },
  {
    title: 'a require of a package that exports only to import',
    files: ts(push("require('p').a"), {
      [PACKAGE]: '{ "type": "module", "exports": { "import": "./index.js" } }',
      'node_modules/p/index.js': 'export const a = 1;',
    }),
    sees: [1],
  },
  {
    title: 'a live binding',
    files: ts(`import { count, add } from './count.js'; add(); ${push('count')}`, {
      'count.ts': 'export let count = 0; export const add = (): void => { count += 1; };',
    }),
    sees: [1],
  },
  {
    title: 'an .mjs file that imports TypeScript',
    files: ts(`import { a } from './a.mjs'; ${push('a')}`, {
      'a.mjs': "import { b } from './b.ts'; export const a = b;",
      'b.ts': 'export const b: number = 1;',
    }),
    sees: [1],
  },
  {
    title: 'a .cjs file that requires another',
    files: ts(`import a, { b } from './a.cjs'; ${push('a.b', 'b')}`, {
      'a.cjs': "exports.b = require('./b.cjs');",
      'b.cjs': 'module.exports = 1;',
    }),
    sees: [1, 1],
  },
];

describe('the modules of a config', () => {
  for (const { title, files, sees } of ROWS) {
    it(`can contain ${title}`, async () => {
      expect(await loadTwice({ 'package.json': '{ "type": "module" }', ...files })).to.deep.equal(sees);
    });
  }

  it('are compiled again if the content of a file changes, even if its time and size stay the same', async () => {
    using fixture = project(
      ts(`import { a } from './a.js'; ${push('a')}`, { 'a.ts': 'export const a: number = 1;' }),
    );
    seen.etlSeen = [];
    utimesSync(fixture.path('a.ts'), 1, 1);
    await fixture.load();
    writeFileSync(fixture.path('a.ts'), 'export const a: number = 2;');
    utimesSync(fixture.path('a.ts'), 1, 1);
    await fixture.load();
    expect(seen.etlSeen).to.deep.equal([1, 2]);
  });

  it('are not cached if the cache is switched off', async () => {
    using fixture = project(ts(''));
    await fixture.load({ isCached: false });
    expect(readdirSync(fixture.directory)).to.not.include('.etl');
  });

  it('are compiled again if a cached file is not code', async () => {
    using fixture = project(ts(push('1')));
    seen.etlSeen = [];
    await fixture.load();
    const cache = fixture.path('.etl/cache/config');
    for (const name of readdirSync(cache)) writeFileSync(join(cache, name), '}{');
    await fixture.load();
    expect(seen.etlSeen).to.deep.equal([1, 1]);
    const [name = ''] = readdirSync(cache);
    expect(readFileSync(join(cache, name), 'utf8')).to.not.equal('}{');
  });

  it("get the program's copy of a package of the same version, also through another package", async () => {
    const { version } = require('objection/package.json') as { version: string };
    using fixture = project(
      ts(`import { Model } from 'objection'; import plugin from 'plugin'; ${push('Model', 'plugin.Model')}`, {
        'node_modules/objection/package.json': JSON.stringify({
          name: 'objection',
          version,
          main: 'main.js',
        }),
        'node_modules/objection/main.js': "throw new Error('a second copy');",
        'node_modules/plugin/package.json': '{}',
        'node_modules/plugin/index.js': "exports.Model = require('objection').Model;",
      }),
    );
    seen.etlSeen = [];
    await fixture.load();
    const { Model } = require('objection') as { Model: unknown };
    expect(seen.etlSeen.map((each) => each === Model)).to.deep.equal([true, true]);
  });
});
