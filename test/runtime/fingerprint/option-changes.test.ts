import { config, describeChanges } from './resume-plan.js';

describeChanges('the options of a task', [
  {
    title: 'that change how it runs, not what it does',
    files: config(
      '',
      "d.sql('a', { sql: 'select 1', retries: 1, timeout: '5m' }); d.load('b', { from: 'a.csv', into: 't', mode: 'append', retries: 1, tags: ['x'] }); d.unload('c', { table: 't', to: 'x.csv', retries: 1 }); d.transfer('e', { from: 'x', table: 't', into: 't', mode: 'append', retries: 1, backoff: { initial: '1s' } }); d.task('f', { retries: 1, retryOn: ['23'] }, async () => 1);",
    ),
    change: {
      'retries: 1': 'retries: 2',
      "timeout: '5m'": "timeout: '6m'",
      "tags: ['x']": "tags: ['y']",
      "initial: '1s'": "initial: '2s'",
      "retryOn: ['23']": "retryOn: ['22']",
    },
    reruns: {},
  },
  {
    title: 'its SQL, connection, isolation, checks and with',
    files: config(
      '',
      "d.sql('a', { sql: 'select 1' }); d.sql('b', { conn: 'x', sql: 'select 2' }); d.sql('c', { isolation: 'serializable', sql: 'select 3' }); d.sql('e', { sql: 'select 4', checks: [{ name: 'k', sql: 'select 5' }] }); d.task('f', { with: { n: 1 } }, async ({ with: { n } }) => n); d.sql('g', { sql: 'select 6' }); d.sql('h', { sql: { text: 'select $1', values: [new Date(0)] } });",
    ),
    change: {
      'select 1': 'select 11',
      "conn: 'x'": "conn: 'y'",
      serializable: 'read committed',
      'select 5': 'select 55',
      'n: 1': 'n: 2',
      'new Date(0)': 'new Date(1)',
    },
    reruns: {
      a: 'its SQL changed',
      b: 'its connection changed',
      c: 'its isolation level changed',
      e: 'its checks changed',
      f: 'its `with` changed',
      h: 'its SQL changed',
    },
  },
  {
    title: 'of a load, an unload and a transfer',
    files: config(
      '',
      "d.load('a', { from: 'a.csv', into: 't', mode: 'append' }); d.load('b', { from: 'a.csv', into: 't', mode: 'append', csv: { delimiter: ';' } }); d.unload('c', { table: 't', to: 'x.csv' }); d.transfer('e', { from: 'x', table: 't', into: 't', mode: 'append' }); d.load('f', { from: ['a.csv', 'b.csv'], into: 't', mode: 'append' });",
    ),
    change: {
      "into: 't', mode: 'append' });": "into: 't', mode: 'replace' });",
      "';'": "','",
      "'x.csv'": "'y.csv'",
    },
    reruns: {
      a: 'its `mode` changed',
      b: 'its `csv` changed',
      c: 'its `to` changed',
      e: 'its `mode` changed',
      f: 'its `mode` changed',
    },
  },
  {
    title: 'functions in them, and what these use',
    files: config(
      'const clean = (row) => ({ ...row, x: 1 }); const where = "a"; const keep = (row) => row;',
      "d.load('a', { from: 'a.csv', into: 't', mode: 'append', transform: (row) => clean(row) }); d.load('b', { from: 'a.csv', into: 't', mode: 'append', transform: keep }); d.unload('c', { query: () => 'select ' + where, to: 'x.csv' }); d.sql('e', { sql: () => 'select ' + where }); d.load('f', { from: () => [where], into: 't', mode: 'append' }); d.unload('g', { table: 't', to: () => where + '.csv', needs: [] }); d.sql('h', { sql: () => 'select 1' });",
    ),
    change: { 'x: 1': 'x: 2', 'where = "a"': 'where = "b"' },
    reruns: {
      a: 'the function "clean" in etl.config.ts changed',
      c: '"where"',
      e: '"where"',
      f: '"where"',
      g: '"where"',
    },
  },
  {
    title: 'rows that are given in code',
    files: config(
      'const rows = [{ id: 1 }, { id: 2 }]; const more = [{ id: 3 }]; function* some() { yield { id: 4 }; }',
      "d.load('a', { from: rows, into: 't', mode: 'append' }); d.load('b', { from: more, into: 't', mode: 'append' }); d.load('c', { from: () => some(), into: 't', mode: 'append' });",
    ),
    change: { 'id: 2': 'id: 22', 'id: 4': 'id: 44' },
    reruns: { a: 'its `from` changed', c: 'the function "some"' },
  },
  {
    title: 'many rows that are given in code',
    files: config(
      "const rows = Array.from({ length: 200_000 }, (_, id) => ({ id, name: 'row ' + id })); const other = Array.from({ length: 200_000 }, (_, id) => ({ id }));",
      "d.load('a', { from: rows, into: 't', mode: 'append' }); d.load('b', { from: other, into: 't', mode: 'append' });",
    ),
    change: { "'row '": "'line '" },
    reruns: { a: 'its `from` changed' },
  },
  {
    title: 'a stream, which nobody can compare',
    files: config(
      "import { Readable } from 'node:stream'; function* some() { yield { id: 4 }; }",
      "d.load('a', { from: Readable.from([{ id: 1 }]), into: 't', mode: 'append' }); d.load('b', { from: some(), into: 't', mode: 'append' }); d.load('c', { from: () => Readable.from([{ id: 1 }]), into: 't', mode: 'append' });",
    ),
    change: { files: {} },
    reruns: { a: /can't be told whether its `from` changed/, b: /can't be told whether its `from` changed/ },
  },
  {
    title: 'a SQL file',
    files: {
      'etl.config.ts': config('', "d.sql('a', { file: 'sql/a.sql' }); d.sql('b', { file: 'sql/b.sql' });"),
      'sql/a.sql': 'select 1',
      'sql/b.sql': 'select 2',
    },
    change: { 'select 1': 'select 3' },
    reruns: { a: 'sql/a.sql changed' },
  },
  {
    title: 'the tasks in needs',
    files: config(
      '',
      "const a = d.sql('a', { sql: 'select 1' }); const b = d.sql('b', { sql: 'select 2' }); d.session('c', { needs: { x: a, y: b } }, async ({ upstream }) => upstream); d.session('e', { needs: { x: a } }, async () => 1);",
    ),
    change: { 'x: a, y: b': 'x: b, y: a' },
    reruns: { c: 'its `needs` changed' },
  },
]);
