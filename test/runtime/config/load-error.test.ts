import { expect } from 'chai';
import { project, type Files } from './config-project.js';

interface Row {
  readonly title: string;
  readonly files: Files;
  readonly code: string;
  readonly where: string;
  readonly says: string | RegExp;
  readonly explicit?: string;
  readonly timeoutMs?: number;
}

const TS = 'etl.config.ts';
const head = "import { dag, defineConfig } from '@oneshot/etl';\n";
const config = (text: string): Files => ({ [TS]: text });

const READING: Row[] = [
  {
    title: 'an explicit file that does not exist',
    files: {},
    explicit: 'no/such.ts',
    code: 'ETL-2101',
    where: 'no/such.ts',
    says: 'no/such.ts does not exist',
  },
  { title: 'an empty file', files: config(''), code: 'ETL-2103', where: `${TS}:1:1`, says: 'is empty' },
  {
    title: 'a file of blanks',
    files: config(' \n\n'),
    code: 'ETL-2103',
    where: `${TS}:1:1`,
    says: 'is empty',
  },
  {
    title: 'a syntax error in TypeScript',
    files: config('export default {\n  dags: [],,\n};\n'),
    code: 'ETL-2103',
    where: `${TS}:2:12\n  dags: [],,\n           ^`,
    says: 'Unexpected token',
  },
  {
    title: 'a syntax error in JavaScript',
    files: { 'etl.config.mjs': 'export default {\n  dags: [}\n};\n' },
    code: 'ETL-2103',
    where: 'etl.config.mjs:2:10\n  dags: [}\n         ^',
    says: 'Unexpected token',
  },
  {
    title: 'a syntax error in CommonJS',
    files: { 'etl.config.cjs': 'const a = 1;\nmodule.exports = { a: "geheim" 2 };\n' },
    code: 'ETL-2103',
    where: 'etl.config.cjs:2:32\nmodule.exports = { a: "………………" 2 };\n                               ^',
    says: 'Unexpected token',
  },
  {
    title: 'a syntax error that only V8 finds',
    files: config('const a: number = 1;\nexport default { dags: [/(/] };\n'),
    code: 'ETL-2103',
    where: `${TS}:2:25\nexport default { dags: [/(/] };\n                        ^`,
    says: 'Invalid regular expression',
  },
  {
    title: 'a syntax error in an imported file',
    files: { ...config("import './tasks.js';\nexport default {};"), 'tasks.ts': 'let a = 1;\nlet a = 2;\n' },
    code: 'ETL-2103',
    where: 'tasks.ts:2:5\nlet a = 2;\n    ^',
    says: "Identifier 'a' has already been declared",
  },
  {
    title: 'a trailing comma in JSON',
    files: { 'etl.config.json': '{\n  "concurrency": 2,\n}\n' },
    code: 'ETL-2103',
    where: 'etl.config.json:3:1',
    says: 'expected a key in double quotes',
  },
  {
    title: 'JSON that ends too early',
    files: { '.etlrc.json': '{ "connections": { "a": "postgres://u:geheim@h/d" }' },
    code: 'ETL-2103',
    where: '.etlrc.json:1:52',
    says: 'expected "," or "}"',
  },
  {
    title: 'a JSON string that is not closed',
    files: { '.etlrc.json': '{ "connections": { "a": "postgres://u:geheim@h/d } }' },
    code: 'ETL-2103',
    where: '.etlrc.json:1:25',
    says: 'expected a value',
  },
  {
    title: 'a syntax error in YAML',
    files: { '.etlrc.yaml': 'concurrency: 2\nconnections:\n  a: [1\n  b: 2\n' },
    code: 'ETL-2103',
    where: '.etlrc.yaml:4:3',
    says: 'missed comma',
  },
  {
    title: 'a syntax error in a package.json that may hold the config',
    files: { 'package.json': '{ "etl": { "concurrency": 2 }, }' },
    code: 'ETL-2103',
    where: 'package.json:1:32',
    says: 'expected a key in double quotes',
  },
  {
    title: 'an explicit package.json without a config',
    files: {},
    explicit: 'package.json',
    code: 'ETL-2105',
    where: 'package.json:1:1',
    says: 'has no config',
  },
];

const EXECUTING: Row[] = [
  {
    title: 'an error that the config throws',
    files: config("const limit: number = 3;\n\n  throw new RangeError('no more than ' + limit);\n"),
    code: 'ETL-2104',
    where: `${TS}:3:9`,
    says: 'RangeError: no more than 3',
  },
  {
    title: 'an error after types, a template and an imported name on the same line',
    files: config(
      "import { join } from 'node:path';\nconst a: string = `${join('a')}`; const b = join(a as string); throw new Error(`x${b}`);\n",
    ),
    code: 'ETL-2104',
    where: `${TS}:2:70`,
    says: 'Error: xa',
  },
  {
    title: 'an error on the first line of the config',
    files: config("throw new Error('at once');\n"),
    code: 'ETL-2104',
    where: `${TS}:1:7`,
    says: 'Error: at once',
  },
  {
    title: 'an error in a function of an imported file',
    files: {
      ...config("import { port } from './env.js';\nexport default { concurrency: port() };\n"),
      'env.ts':
        "type A = string;\nexport const port = (): number => {\n  const a: A = ''; throw new Error('PORT is missing' + a);\n};\n",
    },
    code: 'ETL-2104',
    where: 'env.ts:3:26',
    says: 'Error: PORT is missing',
  },
  {
    title: 'an error in an imported .mjs file',
    files: {
      ...config("import './env.mjs';\nexport default {};\n"),
      'env.mjs': "const a = 1;\n  throw new Error('native ' + a);\n",
    },
    code: 'ETL-2104',
    where: 'env.mjs:2:9',
    says: 'Error: native 1',
  },
  {
    title: 'a function that our API does not have',
    files: config("import { dga } from '@oneshot/etl';\nexport default { dags: [dga('a')] };\n"),
    code: 'ETL-2104',
    where: `${TS}:2:25`,
    says: 'TypeError: ',
  },
  {
    title: 'an error whose message contains a stack',
    files: config("throw new Error('twice\\n    at /x/node_modules/y/index.js:1:2');\n"),
    code: 'ETL-2104',
    where: `${TS}:1:7`,
    says: /^Error: twice$/,
  },
  {
    title: 'a text that the config throws',
    files: config("throw 'text';\n"),
    code: 'ETL-2104',
    where: TS,
    says: 'the code threw the text "text"',
  },
  {
    title: 'a top-level await that never ends',
    files: config(
      'const wait = async () => { await 1; };\nawait wait();\nconst a = await new Promise(() => {});\nexport default a;\n',
    ),
    timeoutMs: 300,
    code: 'ETL-2104',
    where: `${TS}:2:1`,
    says: 'did not finish loading within 0.3 s',
  },
];

const EXPORTING: Row[] = [
  {
    title: 'a missing default export',
    files: config('export const dags = [];\nexport const connections = {};\n'),
    code: 'ETL-2105',
    where: `${TS}:1:1`,
    says: 'the config exports "connections", "dags" by name only',
  },
  {
    title: 'a config that exports nothing',
    files: config('const a = 1;\n'),
    code: 'ETL-2105',
    where: `${TS}:1:1`,
    says: 'has no default export',
  },
  {
    title: 'an undefined default export',
    files: config('const a = undefined;\nexport default a;\n'),
    code: 'ETL-2105',
    where: `${TS}:1:1`,
    says: 'has no default export',
  },
  {
    title: 'a promise as the default export',
    files: config('const a = 1;\nexport default Promise.resolve({ dags: [a] });\n'),
    code: 'ETL-2105',
    where: `${TS}:2:1`,
    says: 'the default export is a promise',
  },
  {
    title: 'a function as the default export',
    files: config('export default () => ({ dags: [] });\n'),
    code: 'ETL-2105',
    where: `${TS}:1:1`,
    says: 'the default export is a function',
  },
  {
    title: 'a function as the export of a CommonJS config',
    files: { 'etl.config.cjs': '\nmodule.exports = () => ({});\n' },
    code: 'ETL-2105',
    where: 'etl.config.cjs:2:1',
    says: 'the default export is a function',
  },
];

const SHAPE: (Omit<Row, 'files' | 'code'> & { readonly value: string })[] = [
  {
    title: 'an array instead of a config',
    value: '[]',
    where: '2:1',
    says: 'expected the config to be an object, got an array',
  },
  {
    title: 'a text instead of a config',
    value: "'dags'",
    where: '2:1',
    says: 'expected the config to be an object, got a string',
  },
  {
    title: 'null instead of a config',
    value: 'null',
    where: '2:1',
    says: 'expected the config to be an object, got null',
  },
  {
    title: 'an instance of a class instead of a config',
    value: 'new Map()',
    where: '2:1',
    says: 'got an instance of Map',
  },
  {
    title: 'an unknown key of the config',
    value: '{\n  connection: {} }',
    where: '3:3',
    says: 'unknown key "connection" in the config; did you mean "connections"?',
  },
  {
    title: 'an unknown key in defaults',
    value: "{ defaults: {\n /* retry: */ 'retry': 1 } }",
    where: '3:15',
    says: 'unknown key "retry" in `defaults`',
  },
  {
    title: 'a wrong value in defaults',
    value: '{ defaults: { retries: -1 } }',
    where: '2:30',
    says: 'defaults.retries',
  },
  {
    title: '`defaults` of a wrong type',
    value: '{ defaults: 3 }',
    where: '2:18',
    says: 'expected `defaults` to be an object, got the number 3',
  },
  {
    title: '`dags` of a wrong type',
    value: '{ dags: {} }',
    where: '2:18',
    says: 'expected `dags` to be an array of Dags, got an object',
  },
  {
    title: 'a Dag that dag() did not return',
    value: '{ dags: [{ id: "a" }] }',
    where: '2:18',
    says: 'expected `dags[0]` to be a Dag, got an object',
  },
  {
    title: 'two Dags with one ID',
    value:
      "{ dags: [\n  dag('a', {}, (d) => d.sql('t', { sql: 'select 1' })),\n    dag('a', {}, (d) => d.sql('t', { sql: 'select 1' }))] }",
    where: '4:5',
    says: 'two Dags have the ID "a"',
  },
  {
    title: '`connections` of a wrong type',
    value: '{ connections: "x" }',
    where: '2:18',
    says: 'expected `connections` to be an object, got a string',
  },
  {
    title: 'a connection of a wrong type',
    value: '{ connections: { a: "x",\n  b: 5432 } }',
    where: '3:3',
    says: 'expected `connections.b` to be a URL, a function or { url, concurrency }, got the number 5432',
  },
  {
    title: 'a connection without a URL',
    value: '{ connections: { a: { concurrency: 2 } } }',
    where: '2:33',
    says: 'expected `connections.a.url` to be a string or a function, got undefined',
  },
  {
    title: 'an unknown key of a connection',
    value: '{ connections: { a: { url: "x", pool: 2 } } }',
    where: '2:48',
    says: 'unknown key "pool" in `connections.a`',
  },
  {
    title: 'a connection limit of a wrong type',
    value: '{ connections: { a: { url: "x", concurrency: 0 } } }',
    where: '2:48',
    says: 'expected `connections.a.concurrency` to be a whole number of at least 1, got the number 0',
  },
  {
    title: 'a concurrency of a wrong type',
    value: '{ concurrency: "4" }',
    where: '2:18',
    says: 'expected `concurrency` to be a whole number of at least 1, got a string',
  },
  {
    title: 'a timeout of a wrong type',
    value: '{ timeout: true }',
    where: '2:18',
    says: 'expected `timeout` to be a duration such as "10m", got a boolean',
  },
  {
    title: 'a timeout that is not a duration',
    value: '{ timeout: "10 minutes" }',
    where: '2:18',
    says: 'expected `timeout` to be a duration',
  },
  {
    title: '__proto__ in a literal',
    value: '{ __proto__: { dags: [] } }',
    where: '2:18',
    says: 'the key "__proto__" is not allowed',
  },
  {
    title: '__proto__ as an own key',
    value: '{ connections: { ["__proto__"]: "x" } }',
    where: '2:34',
    says: 'the key "__proto__" is not allowed',
  },
  {
    title: 'constructor as a connection',
    value: '{ connections: { constructor: "x" } }',
    where: '2:33',
    says: 'the key "constructor" is not allowed',
  },
  {
    title: 'prototype in defaults',
    value: '{ defaults: { prototype: 1 } }',
    where: '2:30',
    says: 'the key "prototype" is not allowed',
  },
];

const DATA: Row[] = [
  {
    title: '__proto__ in JSON',
    files: { '.etlrc.json': '{ "connections": {\n "__proto__": "x" } }' },
    code: 'ETL-2106',
    where: '.etlrc.json:2:2',
    says: 'the key "__proto__"',
  },
  {
    title: '__proto__ in YAML',
    files: { '.etlrc': '# __proto__:\n__proto__:\n  a: 1\n' },
    code: 'ETL-2106',
    where: '.etlrc:2:1',
    says: 'the key "__proto__"',
  },
  {
    title: 'an unknown key in YAML',
    files: { '.etlrc.yml': 'concurrency: 2\nconections:\n  a: b\n' },
    code: 'ETL-2106',
    where: '.etlrc.yml:2:1',
    says: 'did you mean "connections"?',
  },
  {
    title: 'a wrong type in package.json',
    files: { 'package.json': '{ "name": "x",\n  "etl": { "concurrency": 0 } }' },
    code: 'ETL-2106',
    where: 'package.json:2:12',
    says: 'expected `concurrency`',
  },
  {
    title: '`dags` in JSON that name no modules',
    files: { 'etl.config.json': '{ "concurrency": 2,\n  "dags": [{}] }' },
    code: 'ETL-2106',
    where: 'etl.config.json:2:3',
    says: 'a Dag is made of functions',
  },
  {
    title: 'a module without Dags in YAML',
    files: { '.etlrc.yaml': 'concurrency: 2\ndags:\n  - ./dags.ts\n', 'dags.ts': 'export const a = 1;' },
    code: 'ETL-2106',
    where: '.etlrc.yaml:2:1',
    says: 'the module ./dags.ts exports no Dag',
  },
  {
    title: 'a module that JSON names and that does not exist',
    files: { 'etl.config.json': '{ "dags": [\n  "./none.ts"] }' },
    code: 'ETL-2104',
    where: 'etl.config.json:2:3',
    says: `can't find the file "./none.ts", which etl.config.json imports`,
  },
];

const shapeRows = SHAPE.flatMap(({ title, value, where, says }): Row[] => {
  const [line = '', column = ''] = where.split(':');
  const shifted = line === '2' && Number(column) > 1 ? `2:${Number(column) + 'defineConfig('.length}` : where;
  const row = { code: 'ETL-2106', says };
  return [
    {
      ...row,
      title: `${title}, exported as it is`,
      files: config(`${head}export default ${value};\n`),
      where: `${TS}:${where}`,
    },
    {
      ...row,
      title: `${title}, in defineConfig`,
      files: config(`${head}export default defineConfig(${value});\n`),
      where: `${TS}:${where === '2:1' ? '2:16' : shifted}`,
    },
  ];
});

describe('the error for a wrong config', () => {
  for (const row of [...READING, ...EXECUTING, ...EXPORTING, ...shapeRows, ...DATA]) {
    it(`names the location of ${row.title}`, async () => {
      using fixture = project(row.files);
      const error = await fixture.catchError({ explicit: row.explicit, timeoutMs: row.timeoutMs });
      expect(error).to.include({ name: 'EtlError' });
      expect([error.code, error.exitCode]).to.deep.equal(
        [row.code, 2],
        `${error.message} ${error.why ?? ''}`,
      );
      expect(error.where).to.equal(row.where);
      const shown = [error.message, error.where, error.why, error.fix].join('\n');
      expect(
        [error.message, error.why].some((part) =>
          typeof row.says === 'string' ? part?.includes(row.says) : part !== undefined && row.says.test(part),
        ),
      ).to.equal(true, shown);
      expect(shown).to.not.match(/node_modules|^\s+at |geheim|data:text/m);
      expect(error.fix).to.be.a('string');
    });
  }

  it('is the error of dag(), with its location, if a Dag is wrong', async () => {
    using fixture = project(config(`${head}export default { dags: [\n  dag('a b', {}, () => {}),\n] };\n`));
    const error = await fixture.catchError();
    expect([error.name, error.code.slice(0, 6), error.exitCode]).to.deep.equal(['EtlError', 'ETL-23', 2]);
    expect(error.where?.endsWith(`${TS}:3:3`), error.where).to.equal(true);
  });
});
