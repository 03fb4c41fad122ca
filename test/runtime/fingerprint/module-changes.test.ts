import { config, describeChanges, PACKAGE, results } from './resume-plan.js';

describeChanges('an imported module', [
  {
    title: 'one of its functions',
    files: {
      'etl.config.ts': results("import { total, other } from './src/helper.js';", {
        a: 'total(1)',
        b: 'other(1)',
        c: '1',
      }),
      'src/helper.ts': 'export const total = (x: number) => x + 1;\nexport const other = (x: number) => x;',
    },
    change: { 'x + 1': 'x + 2' },
    reruns: { a: 'src/helper.ts changed' },
  },
  {
    title: 'a constant that its function uses, not exported',
    files: {
      'etl.config.ts': results("import { total } from './src/helper.js';", { a: 'total(1)', c: '1' }),
      'src/helper.ts':
        "const rates = Object.freeze({ eur: Number('1') });\nexport const total = (x: number) => x * rates.eur;",
    },
    change: { "Number('1')": "Number('2')" },
    reruns: { a: 'the constant "rates.eur" in src/helper.ts changed' },
  },
  {
    title: 'a module behind it',
    files: {
      'etl.config.ts': results("import { total } from './a.js';", { a: 'total(1)', c: '1' }),
      'a.ts': "import { step } from './b/index.js'; export const total = (x: number) => step(x);",
      'b/index.ts': "import tax from './tax.js'; export function step(x: number) { return x * tax; }",
      'b/tax.ts': 'export default 0.19;',
    },
    change: { '0.19': '0.16' },
    reruns: { a: 'b/tax.ts changed' },
  },
  {
    title: 'by export lists, export * and other names',
    files: {
      'etl.config.ts': results(
        "import { one, two as zwei, ns } from './index.js'; import def from './index.js';",
        { a: 'one()', b: 'zwei()', c: 'ns.three()', e: 'def()', f: '0' },
      ),
      'index.ts':
        "export * from './one.js'; export { two } from './two.js'; export * as ns from './three.js'; export { four as default } from './two.js';",
      'one.ts': 'export const one = () => 1;',
      'two.ts': 'export const two = () => 2; export const four = () => 4;',
      'three.ts': 'export const three = () => 3;',
    },
    change: { '=> 1': '=> 11', '=> 3': '=> 33', '=> 4': '=> 44' },
    reruns: { a: 'one.ts changed', c: 'three.ts changed', e: 'two.ts changed' },
  },
  {
    title: 'by import *',
    files: {
      'etl.config.ts': results("import * as h from './h.js'; const pick = (o, k) => o[k];", {
        a: 'h.a()',
        b: 'h.b()',
        c: "pick(h, 'a')",
      }),
      'h.ts': 'export const a = () => 1; export const b = () => 2;',
    },
    change: { '=> 2': '=> 3' },
    reruns: { b: 'h.ts changed', c: 'h.ts changed' },
  },
  {
    title: 'that imports the module that imports it',
    files: {
      'etl.config.ts': results("import { a } from './a.js'; import { b } from './b.js';", {
        a: 'a(1)',
        b: 'b(1)',
        c: '1',
      }),
      'a.ts':
        "import { b } from './b.js'; export const a = (n: number): number => (n ? b(n - 1) : 1); export const alone = () => 5;",
      'b.ts': "import { a } from './a.js'; export const b = (n: number): number => (n ? a(n - 1) : 2);",
    },
    change: { ': 2)': ': 3)', '=> 5': '=> 6' },
    reruns: { a: 'b.ts changed', b: 'b.ts changed' },
  },
  {
    title: 'by import() in the function',
    files: {
      'etl.config.ts': results('', { a: "(await import('./late.js')).late()", b: '1' }),
      'late.ts': 'export const late = () => 1;',
    },
    change: { '=> 1;': '=> 2;' },
    reruns: { a: 'late.ts changed' },
  },
  {
    title: 'by import() of a computed name, which can be any file',
    files: {
      'etl.config.ts': results('const name = "late";', {
        a: "(await import('./' + name + '.js')).late()",
        b: '1',
      }),
      'late.ts': 'export const late = () => 1;',
    },
    change: { files: {} },
    reruns: { a: /can't be told whether the import of a computed name in etl.config.ts changed/ },
  },
  {
    title: 'JSON',
    files: {
      'etl.config.ts': results("import rates from './rates.json' with { type: 'json' };", {
        a: 'rates.eur',
        b: '1',
      }),
      'rates.json': '{ "eur": 1 }',
    },
    change: { '"eur": 1': '"eur": 2' },
    reruns: { a: 'rates.json changed' },
  },
  {
    title: 'JSON by require',
    files: {
      'etl.config.ts': results(
        "import { createRequire } from 'node:module'; const rates = createRequire(import.meta.url)('./rates.json');",
        { a: 'rates.eur', b: '1' },
      ),
      'rates.json': '{ "eur": 1 }',
    },
    change: { '"eur": 1': '"eur": 2' },
    reruns: { a: 'the constant "rates.eur" in etl.config.ts changed' },
  },
  {
    title: 'with a Dag in a module of its own',
    files: {
      'etl.config.ts':
        "import { defineConfig } from '@oneshot/etl'; import { one } from './dags/one.js'; import two from './dags/two.js'; export default defineConfig({ dags: [one, two] });",
      'dags/one.ts':
        "import { dag } from '@oneshot/etl'; import { rate } from '../lib/rate.js'; export const one = dag('one', {}, (d) => { d.session('a', {}, async () => rate()); d.session('b', {}, async () => 1); });",
      'dags/two.ts':
        "import { dag } from '@oneshot/etl'; export default dag('two', {}, (d) => { d.session('c', {}, async () => 1); });",
      'lib/rate.ts': 'export const rate = () => 1.5;',
    },
    change: { '1.5': '1.6' },
    reruns: { a: 'lib/rate.ts changed' },
  },
  {
    title: 'a statement that changes something for all',
    files: {
      'etl.config.ts': config(
        "import './setup.js';",
        "d.session('a', {}, async () => 1); d.sql('b', { sql: 'select 1' });",
      ),
      'setup.ts': "import { format } from 'node:util'; format('one');",
    },
    change: { "'one'": "'two'" },
    reruns: { a: 'the top level of setup.ts changed' },
  },
  {
    title: 'a module that no task uses',
    files: {
      'etl.config.ts': results("import { unused } from './u.js'; export const again = unused;", { a: '1' }),
      'u.ts': 'export const unused = () => 1;',
    },
    change: { '=> 1;': '=> 2;' },
    reruns: {},
  },
]);

describeChanges('a package', [
  {
    title: 'another version',
    files: { 'etl.config.ts': results("import { p } from 'p';", { a: 'p()', b: '1' }), ...PACKAGE },
    change: { '1.2.3': '1.2.4' },
    reruns: { a: 'the package p changed from 1.2.3 to 1.2.4' },
  },
  {
    title: 'another version, through a module of the project',
    files: {
      'etl.config.ts': results("import { f } from './f.js';", { a: 'f()', b: '1' }),
      'f.ts': "import * as p from 'p'; export const f = () => p.p();",
      ...PACKAGE,
    },
    change: { '1.2.3': '1.2.4' },
    reruns: { a: 'the package p' },
  },
  {
    title: 'nothing, for an object of a class of the package',
    files: {
      'etl.config.ts': results(
        "import { schema } from 'p'; const one = schema({ x: 1 }); const two = schema({ y: 1 });",
        { a: 'one.parse()', b: 'two.parse()' },
      ),
      ...PACKAGE,
    },
    change: { 'y: 1': 'y: 2' },
    reruns: { b: 'the constant "two" in etl.config.ts changed' },
  },
  {
    title: 'with exports and ES modules',
    files: {
      'etl.config.ts': results("import { p } from 'q/sub'; import { p as s } from '@s/q';", {
        a: 'p()',
        b: 's()',
        c: '1',
      }),
      'node_modules/q/package.json':
        '{ "name": "q", "version": "1.0.0", "type": "module", "exports": { "./sub": { "import": "./s.js" } } }',
      'node_modules/q/s.js': 'export const p = () => 1;',
      'node_modules/@s/q/package.json':
        '{ "name": "@s/q", "version": "2.0.0", "type": "module", "exports": "./s.js" }',
      'node_modules/@s/q/s.js': 'export const p = () => 1;',
    },
    change: { '"2.0.0"': '"2.0.1"' },
    reruns: { b: 'the package @s/q changed from 2.0.0 to 2.0.1' },
  },
]);
