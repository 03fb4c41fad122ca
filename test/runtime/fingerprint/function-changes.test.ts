import { config, describeChanges, PACKAGE, results } from './resume-plan.js';

describeChanges('a function that the task uses', [
  {
    title: 'beside the Dag, directly and through another',
    files: results(
      'const add = (x) => x + 1; function twice(x) { return add(x) * 2; } const other = (x) => x;',
      { a: 'add(1)', b: 'twice(1)', c: 'other(1)' },
    ),
    change: { 'x + 1': 'x + 2' },
    reruns: {
      a: 'the function "add" in etl.config.ts changed',
      b: 'the function "add" in etl.config.ts changed',
    },
  },
  {
    title: 'that calls itself, or another that calls it',
    files: results(
      'const even = (n) => n === 0 || odd(n - 1); const odd = (n) => n !== 0 && even(n - 1); const fact = (n) => (n < 2 ? 1 : n * fact(n - 1));',
      { a: 'even(4)', b: 'fact(3)' },
    ),
    change: { 'n !== 0': 'n > 0' },
    reruns: { a: 'the function "odd"' },
  },
  {
    title: 'a property of an object',
    files: results(
      'const h = { a(x) { return x; }, b: (x) => x * 2, c() { return this.b(1); }, d: { e: () => 1 } };',
      { a: 'h.a(1)', b: 'h.b(1)', c: 'h.c()', e: 'h.d.e()' },
    ),
    change: { 'x * 2': 'x * 3' },
    reruns: { b: '"h.b"', c: '"h"' },
  },
  {
    title: 'a method of a class',
    files: results(
      'class H { static s() { return 1; } m() { return 2; } } class G { m() { return 3; } } const h = new H(); const g = new G();',
      { a: 'H.s()', b: 'h.m()', c: 'g.m()' },
    ),
    change: { 'return 2': 'return 4' },
    reruns: { a: 'the class "H" in etl.config.ts changed', b: /"h" in etl.config.ts changed/ },
  },
  {
    title: 'a method of the class that a class extends',
    files: results('class A { m() { return 1; } } class B extends A {} class C {}', {
      a: 'new B().m()',
      b: 'new C()',
    }),
    change: { 'return 1': 'return 2' },
    reruns: { a: 'the class "A" in etl.config.ts changed' },
  },
  {
    title: 'the state of an instance',
    files: results(
      'class H { constructor(x) { this.x = x; } m() { return this.x; } } const h = new H(1); const g = new H(2);',
      { a: 'h.m()', b: 'g.m()' },
    ),
    change: { 'new H(1)': 'new H(3)' },
    reruns: { a: 'the constant "h" in etl.config.ts changed' },
  },
  {
    title: 'that is passed as the function of the task',
    files: config(
      'const load = async () => 1; async function other() { return 2; }',
      "d.session('a', {}, load); d.session('b', {}, other); d.task('c', {}, load);",
    ),
    change: { '=> 1': '=> 3' },
    reruns: { a: 'its function changed', c: 'its function changed' },
  },
  {
    title: 'around the function of the task',
    files: config(
      'const logged = (name, fn) => async (c) => { console.log(name); return fn(c); }; const once = (fn) => { let done; return () => (done ??= fn()); };',
      "d.session('a', {}, logged('x', async () => 1)); d.session('b', {}, logged('y', async () => 2)); d.session('c', {}, once(async () => 3)); d.session('e', {}, async () => 4);",
    ),
    change: { '=> 1)': '=> 5)', '=> 3)': '=> 6)' },
    reruns: { a: 'the argument "fn" in etl.config.ts changed', c: '"fn"' },
  },
  {
    title: 'around the function of the task, its own text',
    files: config(
      'const logged = (name, fn) => async (c) => { console.log(name); return fn(c); };',
      "d.session('a', {}, logged('x', async () => 1)); d.session('b', {}, async () => 2);",
    ),
    change: { 'console.log(name)': 'console.info(name)' },
    reruns: { a: 'its function changed' },
  },
  {
    title: 'bound to an object',
    files: config(
      'class P { constructor(n) { this.n = n; } async run() { return this.n; } } const p = new P(1); const q = new P(2);',
      "d.session('a', {}, p.run.bind(p)); d.session('b', {}, q.run.bind(q)); d.session('c', {}, (async (x) => x).bind(null, 5));",
    ),
    change: { 'new P(1)': 'new P(3)' },
    reruns: { a: 'its function changed' },
  },
  {
    title: 'made by a package around a function',
    files: {
      'etl.config.ts': config(
        "import { memo } from 'memo';",
        "d.session('a', {}, memo(async () => 1)); d.session('b', {}, memo(async () => 2));",
      ),
      'node_modules/memo/package.json': '{ "name": "memo", "version": "1.0.0", "main": "i.js" }',
      'node_modules/memo/i.js':
        'exports.memo = (inner) => { let r; return (...args) => (r ??= inner(...args)); };',
    },
    change: { '=> 1': '=> 3' },
    reruns: { a: 'the function "inner" changed' },
  },
]);

describeChanges('a task in a loop or a factory', [
  {
    title: 'a list that gets another element',
    files: config(
      "const countries = ['de', 'fr'];",
      'for (const country of countries) d.session(country, {}, async () => country);',
    ),
    change: { "['de', 'fr']": "['de', 'it', 'fr']" },
    reruns: { it: 'not done' },
  },
  {
    title: 'one field of one element',
    files: config(
      "const list = [{ id: 'de', rate: 1 }, { id: 'fr', rate: 2 }];",
      "for (const { id, rate } of list) d.session(id, {}, async () => rate);\nlist.forEach((each) => d.session(each.id + '2', {}, async () => each.rate));",
    ),
    change: { 'rate: 2': 'rate: 3' },
    reruns: {
      fr: 'the constant "rate" in etl.config.ts changed',
      fr2: 'the argument "each.rate" in etl.config.ts changed',
    },
  },
  {
    title: 'the arguments of a factory',
    files: config(
      'const make = (d, id, x) => d.session(id, {}, async () => x * 2);',
      "make(d, 'a', 1); make(d, 'b', 2);",
    ),
    change: { "'b', 2": "'b', 3" },
    reruns: { b: 'the argument "x" in etl.config.ts changed' },
  },
  {
    title: 'the text of a factory',
    files: config(
      'const make = (d, id, x) => d.session(id, {}, async () => x * 2);',
      "make(d, 'a', 1); d.session('b', {}, async () => 1);",
    ),
    change: { 'x * 2': 'x * 3' },
    reruns: { a: 'its function changed' },
  },
  {
    title: 'a local function that uses a variable of the loop',
    files: config(
      '',
      "for (const n of [1, 2]) { const f = (x) => x * n; d.session('t' + n, {}, async () => f(2)); } for (const n of [5]) d.session('u', {}, async () => n);",
    ),
    change: { 'of [1, 2]': 'of [1, 3]' },
    reruns: { t3: 'not done' },
  },
  {
    title: 'Dags in a loop',
    files: `import { dag, defineConfig } from '@oneshot/etl';
      const make = (c) => dag(c, {}, (d) => { d.session(c + '-a', {}, async () => c); d.session(c + '-b', {}, async () => 1); });
      const dags = [];
      for (const c of ['de', 'fr']) dags.push(make(c));
      export default defineConfig({ dags });`,
    change: { 'async () => 1': 'async () => 2' },
    reruns: { 'de-b': 'its function changed', 'fr-b': 'its function changed' },
  },
]);

describeChanges('an object of a package', [
  {
    title: 'that is an argument, with the text of the constant that has it',
    files: {
      'etl.config.ts': config(
        "import { schema } from 'p'; const one = schema((x) => x); const two = schema((x) => x); const make = (d, id, s) => d.session(id, {}, async () => s.parse(1));",
        "make(d, 'a', one); make(d, 'b', two); make(d, 'c', { deep: [two] }); d.session('e', { with: { s: one } }, async (c) => c.with);",
      ),
      ...PACKAGE,
    },
    change: { 'two = schema((x) => x)': 'two = schema((x) => x + 1)' },
    reruns: {
      b: 'the constant "two" in etl.config.ts changed',
      c: 'the constant "two" in etl.config.ts changed',
    },
  },
  {
    title: 'that is an argument without a name, so that nobody can compare it',
    files: {
      'etl.config.ts': config(
        "import { schema } from 'p'; const make = (d, id, s) => d.session(id, {}, async () => s);",
        "make(d, 'a', schema((x) => x)); make(d, 'b', 1); d.session('c', { with: schema(1) }, async () => 1);",
      ),
      ...PACKAGE,
    },
    change: { files: {} },
    reruns: { a: /can't be told whether the argument "s"/, c: /can't be told whether its `with` changed/ },
  },
]);

describeChanges('code that hides what it does', [
  {
    title: 'eval',
    files: results('const code = "1"; const f = () => eval("1" + "2");', {
      a: 'eval(code)',
      b: 'f()',
      c: '1',
    }),
    change: { files: {} },
    reruns: { a: /can't be told whether the code in `eval`/, b: /`eval`/ },
  },
  {
    title: '`this` of a class around the Dag',
    files: `import { dag, defineConfig } from '@oneshot/etl';
      class P { n = 1; define() { return dag('d', {}, (d) => { d.session('a', {}, async () => this.n); d.session('b', {}, async () => 1); }); } }
      export default defineConfig({ dags: [new P().define()] });`,
    change: { files: {} },
    reruns: { a: /can't be told whether `this` of a function in etl.config.ts changed/ },
  },
  {
    title: 'a value of the clock or of a random number',
    files: results('const now = performance.now(); const id = Math.random();', { a: 'now', b: 'id', c: '1' }),
    change: { files: {} },
    reruns: { a: 'the constant "now"', b: 'the constant "id"' },
  },
  {
    title: 'an object of a package that is made of a file',
    files: {
      'etl.config.ts': results(
        "import { schema } from 'p'; import { readFileSync } from 'node:fs'; const s = schema(readFileSync(new URL(import.meta.url))); const t = schema(1);",
        { a: 's', b: 't' },
      ),
      ...PACKAGE,
    },
    change: { files: {} },
    reruns: { a: /can't be told whether what is read with node:fs while the config is loaded changed/ },
  },
]);
