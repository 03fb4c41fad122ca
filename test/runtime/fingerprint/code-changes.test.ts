import { config, describeChanges, results } from './resume-plan.js';

describeChanges('the function of a task', [
  {
    title: 'its text',
    files: results('', { a: '1', b: '2' }),
    change: { '=> 1': '=> 3' },
    reruns: { a: 'its function changed' },
  },
  {
    title: 'a function beside it on the same line',
    files: config('', "d.session('a', {}, async () => 1); d.session('b', {}, async () => 2);"),
    change: { '=> 2': '=> 3' },
    reruns: { b: 'its function changed' },
  },
  {
    title: 'comments, blanks, quotes, types and a line before it',
    files: results('', { a: "{ const x = 'y'; return x; }", b: '2' }),
    change: {
      'async () => { const': '// a comment\n  async () =>\n { /* another */ const',
      "x = 'y'": 'x: string   =  "y"',
      'import { dag': '\n\n// first\nimport { dag',
    },
    reruns: {},
  },
  {
    title: 'its default parameter',
    files: config(
      'const one = 1; const two = 2;',
      "d.session('a', {}, async ({ x = one } = {}) => x); d.session('b', {}, async ({ x = two } = {}) => x);",
    ),
    change: { 'one = 1': 'one = 3' },
    reruns: { a: 'the constant "one" in etl.config.ts changed' },
  },
  {
    title: 'the name of a local variable',
    files: results('', { a: '{ const x = 1; return x; }', b: '2' }),
    change: { 'const x = 1; return x': 'const y = 1; return y' },
    reruns: { a: 'its function changed' },
  },
  {
    title: 'the tasks that need it',
    files: config(
      'const factor = 2;',
      `const a = d.session('a', {}, async () => factor);
       const b = d.session('b', { needs: { a } }, async () => 1);
       d.session('c', { needs: [b] }, async () => 1);
       d.session('e', {}, async () => 1);`,
    ),
    change: { 'factor = 2': 'factor = 3' },
    reruns: { a: '"factor"', b: 'needs "a"', c: 'needs "b"' },
  },
  {
    title: 'the order and the place of tasks',
    files: config('', "d.session('a', {}, async () => 1);\nd.session('b', {}, async () => 2);"),
    change: {
      "d.session('a', {}, async () => 1);\nd.session('b', {}, async () => 2);":
        "d.session('b', {}, async () => 2);\n\n\nd.session('new', {}, async () => 3);\nd.session('a', {}, async () => 1);",
    },
    reruns: { new: 'not done' },
  },
]);

describeChanges('a constant', [
  {
    title: 'beside the Dag',
    files: results('const factor = 2; const other = 2;', { a: 'factor * 2', b: 'other * 2' }),
    change: { 'factor = 2': 'factor = 3' },
    reruns: { a: 'the constant "factor" in etl.config.ts changed' },
  },
  {
    title: 'that is computed to the same value',
    files: results('const day = 24 * 3600; const list = ["a", "b"].map((x) => x + x);', {
      a: 'day',
      b: 'list.length',
    }),
    change: { '24 * 3600': '86_400', '["a", "b"].map((x) => x + x)': '["aa", "bb"]' },
    reruns: {},
  },
  {
    title: 'inside the definition of the Dag',
    files: config(
      '',
      "const f = 2; const g = 3; d.session('a', {}, async () => f); d.session('b', {}, async () => g);",
    ),
    change: { 'f = 2': 'f = 4' },
    reruns: { a: 'the constant "f" in etl.config.ts changed' },
  },
  {
    title: 'one property of an object',
    files: results('const RATES = { eur: { now: 1 }, usd: { now: 2 } };', {
      a: 'RATES.eur.now',
      b: "RATES['usd'].now",
      c: 'RATES',
      e: 'Object.keys(RATES)',
    }),
    change: { 'usd: { now: 2': 'usd: { now: 3' },
    reruns: { b: 'the constant "RATES.usd.now" in etl.config.ts changed', c: '"RATES"', e: '"RATES"' },
  },
  {
    title: 'a date, a pattern, a Map and bytes',
    files: results(
      "const at = new Date('2026-01-01'); const word = /a+/g; const map = new Map([['x', 1]]); const bytes = Buffer.from('x');",
      { a: 'at', b: 'word', c: 'map', e: 'bytes', f: '1' },
    ),
    change: { '2026-01-01': '2026-01-02', '/a+/g': '/a+/', "['x', 1]": "['x', 2]", "from('x')": "from('y')" },
    reruns: { a: '"at"', b: '"word"', c: '"map"', e: '"bytes"' },
  },
  {
    title: 'that shadows another of the same name',
    files: config(
      'const x = 1;',
      "d.session('a', {}, async () => x); { const x = 2; d.session('b', {}, async () => x); } d.session('c', {}, async () => { const x = 5; return x; });",
    ),
    change: { 'const x = 1;': 'const x = 9;' },
    reruns: { a: 'the constant "x" in etl.config.ts changed' },
  },
  {
    title: 'that shadows, inside',
    files: config(
      'const x = 1;',
      "d.session('a', {}, async () => x); { const x = 2; d.session('b', {}, async () => x); }",
    ),
    change: { 'const x = 2;': 'const x = 9;' },
    reruns: { b: 'the constant "x" in etl.config.ts changed' },
  },
  {
    title: 'a variable that is set before the Dag is defined',
    files: results('let mode = 1; mode = 2; let other = 1;', { a: 'mode', b: 'other' }),
    change: { 'mode = 2': 'mode = 3' },
    reruns: { a: 'the variable "mode" in etl.config.ts changed' },
  },
  {
    title: 'a variable that a function sets',
    files: results('let mode = 1; function setMode() { mode = 2; }', { a: 'mode', b: '1' }),
    change: { '{ mode = 2; }': '{ mode = 3; }' },
    reruns: { a: 'code that sets a variable in etl.config.ts changed' },
  },
  {
    title: 'an object that a statement changes later',
    files: results(
      'const settings = { a: 1 }; settings.b = 2; const list = []; list.push(1); const m = new Map(); m.set(1, 2);',
      { a: 'settings', b: 'list', c: 'm', e: '1' },
    ),
    change: {
      'settings.b = 2': 'settings.b = 3',
      'list.push(1)': 'list.push(2)',
      'm.set(1, 2)': 'm.set(1, 3)',
    },
    reruns: { a: '"settings"', b: '"list"', c: '"m"' },
  },
  {
    title: 'from an environment variable',
    files: results(
      'const { REGION_X, LIMIT_X = "5" } = process.env; const key = process.env.KEY_X ?? "none";',
      { a: 'REGION_X', b: 'LIMIT_X', c: 'key', e: '1' },
    ),
    change: { files: {} },
    variables: [
      { REGION_X: 'eu', KEY_X: 'k' },
      { REGION_X: 'us', KEY_X: 'k' },
    ],
    reruns: { a: 'the constant "REGION_X" in etl.config.ts changed' },
  },
  {
    title: 'an environment variable that the function reads',
    files: results(
      'const need = (name) => { const v = process.env[name]; if (!v) throw new Error(name); return v; };',
      { a: 'process.env.REGION_X', b: "need('LIMIT_X')", c: "need('KEY_X')", e: '1' },
    ),
    change: { files: {} },
    variables: [
      { REGION_X: 'eu', LIMIT_X: '1', KEY_X: 'k' },
      { REGION_X: 'us', LIMIT_X: '2', KEY_X: 'k' },
    ],
    reruns: { a: 'the environment variable REGION_X changed', b: 'the environment variable LIMIT_X changed' },
  },
  {
    title: 'from a file that the config reads',
    files: {
      'etl.config.ts': results(
        "import { readFileSync } from 'node:fs'; import { join } from 'node:path'; const q = readFileSync(join(import.meta.dirname, 'q.txt'), 'utf8'); const conf = JSON.parse(readFileSync(new URL('c.json', import.meta.url), 'utf8'));",
        { a: 'q', b: 'conf.x', c: 'conf.y' },
      ),
      'q.txt': 'select 1',
      'c.json': '{ "x": 1, "y": 2 }',
    },
    change: { 'select 1': 'select 2', '"y": 2': '"y": 3' },
    reruns: { a: 'the constant "q"', c: 'the constant "conf.y"' },
  },
]);
