import { expect } from 'chai';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { dag } from '../../../../src/runtime/dag/dag.js';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { openWorkbench, type Workbench } from './workbench.js';

/** The ways by which a load passes a file to the server. */
const PATHS: readonly [title: string, source: Partial<LoadSource>][] = [
  ['as it is', {}],
  ['with a transform', { transform: (row) => row }],
  ['with `rejects`', { rejects: { max: 0, to: 'bad' } }],
  ['with `evolve`', { schema: 'evolve' }],
  ['with `discard` of a column', { schema: 'discard' }],
  ['with `create`', { create: true }],
];

describe('a load of a file whose name says its format', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());

  const expected = [
    { id: '1', a: 'x, "y"' },
    { id: '2', a: null },
    { id: '3', a: 'é' },
  ];
  const csv = 'id,a,more\n1,"x, ""y""",0\n2,,0\n3,é,0\n';
  const tsv = 'id\ta\tmore\n1\t"x, ""y"""\t0\n2\t\t0\n3\té\t0\n';
  const objects = [
    '{"id":1,"a":"x, \\"y\\"","more":0}',
    '{"id":2,"a":null,"more":0}',
    '{"id":3,"a":"é","more":0}',
  ];
  const files: readonly [name: string, content: string | Buffer][] = [
    ['in.csv', csv],
    ['in.CSV', csv],
    ['in.csv.gz', gzipSync(csv)],
    ['in.tsv', tsv],
    ['in.tab', tsv],
    ['in.tsv.gz', gzipSync(tsv)],
    ['in.ndjson', objects.join('\n')],
    ['in.jsonl', `${objects.join('\r\n')}\r\n`],
    ['in.json', `[${objects.join(',')}]`],
    [
      'pretty.json',
      `\n${JSON.stringify(
        objects.map((each) => JSON.parse(each) as unknown),
        null,
        2,
      )}\n`,
    ],
    ['in.json.gz', gzipSync(`[${objects.join(', ')}]`)],
    ['lines.json', objects.join('\n')],
  ];
  for (const [name, content] of files) {
    for (const [title, source] of PATHS) {
      it(`reads ${name} in its own format, ${title}`, async () => {
        await bench.write({ [name]: content });
        const isCreated = source.create === true;
        const isPart = source.schema === 'discard';
        await bench.db.query(
          `drop table if exists t; ${isCreated ? '' : `create table t (id int, a text${isPart ? '' : ', more int'})`}`,
        );
        const { task } = await bench.load({ from: name, ...source });
        expect(task?.error).to.equal(undefined);
        expect(await bench.db.query('select id::text, a from t order by id')).to.deep.equal(expected);
      });
    }
  }

  it('reads one JSON document as one row', async () => {
    await bench.write({ 'one.json': '{\n  "id": 1,\n  "a": "x",\n  "list": [1.50]\n}\n' });
    await bench.db.query('drop table if exists t; create table t (id int, a text, list jsonb)');
    expect((await bench.load({ from: 'one.json' })).task?.error).to.equal(undefined);
    expect(await bench.db.query('select id, a, list::text from t')).to.deep.equal([
      { id: 1, a: 'x', list: '[1.50]' },
    ]);
  });

  it('reads a JSON file wherever its text is cut', async () => {
    const text = `[ ${objects.join(' ,\n')} ]\n`;
    await bench.db.query('drop table if exists t; create table t (id int, a text, more int)');
    const from = () => Readable.from([...Buffer.from(text)].map((byte) => Buffer.from([byte])));
    expect((await bench.load({ from, format: 'json' })).task?.error).to.equal(undefined);
    expect(await bench.db.query('select id::text, a from t order by id')).to.deep.equal(expected);
  });

  const broken: readonly [text: string, line: number][] = [
    ['[{"id":1},\n{"id":2}', 2],
    ['[{"id":1},\n]', 2],
    ['[{"id":1}\n{"id":2}]', 2],
    ['[{"id":1}]\n[]', 2],
    ['[1]', 1],
    ['"x"', 1],
    ['\n{"id":1', 2],
    ['[{"id":1},{"id":01}]', 1],
    ['{"id":1},{"id":2}', 1],
  ];
  for (const [text, line] of broken) {
    it(`refuses the JSON ${JSON.stringify(text)}, names the line, and keeps nothing`, async () => {
      await bench.write({ 'in.json': text });
      await bench.db.query('drop table if exists t; create table t (id int)');
      const { task } = await bench.load({ from: 'in.json' });
      expect(task?.error).to.include({ code: 'ETL-3556' });
      expect(task?.error?.where).to.include(`in.json, line ${line}`);
      expect(await bench.db.query('select * from t')).to.deep.equal([]);
    });
  }

  for (const name of [
    'in.txt',
    'in.dat',
    'in.xlsx',
    'in.xml',
    'in',
    'in.constructor',
    'in.geojson',
    'in.csv.zip',
  ]) {
    it(`refuses ${name} whose name says no format, and reads it with \`format\` or \`csv\``, async () => {
      await bench.write({ [name]: 'id,a\n1,x\n' });
      await bench.db.query('drop table if exists t');
      const { task } = await bench.load({ from: name, create: true });
      expect(task?.error).to.include({ code: 'ETL-3575' });
      expect(await bench.db.query(`select to_regclass('t') as t`)).to.deep.equal([{ t: null }]);
      for (const source of [{ format: 'csv' }, { csv: {} }] as const) {
        await bench.db.query('drop table if exists t');
        expect((await bench.load({ from: name, create: true, ...source })).task?.error).to.equal(undefined);
        expect(await bench.db.query('select id::int, a from t')).to.deep.equal([{ id: 1, a: 'x' }]);
      }
    });
  }
});

describe('a load of a file with lines before its header', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());

  for (const [title, source] of PATHS) {
    for (const eol of ['\n', '\r\n', '\r']) {
      it(`leaves out the lines, ${title}, with the line break ${JSON.stringify(eol)}`, async () => {
        await bench.db.query(
          `drop table if exists t; ${source.create === true ? '' : 'create table t (id int, a text)'}`,
        );
        const more = source.schema === 'discard' ? [';more', ';9', ';9'] : ['', '', ''];
        const lines = [
          'sep=;',
          'a "quote',
          '',
          `id;a${more[0]}`,
          `1;x${more[1]}`,
          `2;"y${eol}z"${more[2]}`,
          '',
        ];
        await bench.write({ 'in.csv': lines.join(eol) });
        const { task } = await bench.load({ csv: { delimiter: ';', skipLines: 3 }, ...source });
        expect(task?.error).to.equal(undefined);
        expect(await bench.db.query('select id::int, a from t order by id')).to.deep.equal([
          { id: 1, a: 'x' },
          { id: 2, a: `y${eol}z` },
        ]);
      });
    }

    if (source.create === true || source.schema !== undefined) continue;
    it(`names the line of the file, ${title}`, async () => {
      await bench.db.query('drop table if exists t, bad; create table t (id int, a text)');
      await bench.write({ 'in.csv': 'sep=,\n\nid,a\n1,x\nwrong,y\n' });
      const { task } = await bench.load({ csv: { skipLines: 2 }, ...source });
      // A load that parses the rows itself counts the rows.
      const where = source.transform === undefined ? /in\.csv(?::|, line )5\b/ : /row 2\b/;
      expect(task?.error?.where).to.match(where);
    });
  }

  it('names the line of a wrong record that it parses', async () => {
    await bench.db.query('drop table if exists t; create table t (id int, a text)');
    await bench.write({ 'in.csv': 'sep=,\nid,a\n1,x\n2\n' });
    const { task } = await bench.load({ csv: { skipLines: 1 }, transform: (row) => row });
    expect(task?.error?.where).to.include('in.csv, line 4');
  });

  it('reads a file without a header, and a file in UTF-16', async () => {
    await bench.db.query('drop table if exists t; create table t (id int, a text)');
    await bench.write({ 'in.csv': 'made by x\n1,x\n' });
    const bare = { skipLines: 1, header: false, columns: ['id', 'a'] };
    expect((await bench.load({ csv: bare })).task?.error).to.equal(undefined);
    await bench.write({ 'in.csv': Buffer.from('sep=,\r\nid,a\r\n2,\u0001\u0101é\r\n', 'utf16le') });
    const wide = { skipLines: 1, quote: false, encoding: 'utf-16le' } as const;
    expect((await bench.load({ csv: wide })).task?.error).to.equal(undefined);
    expect((await bench.load({ csv: wide, transform: (row) => row })).task?.error).to.equal(undefined);
    expect(await bench.db.query('select id, a from t')).to.deep.equal([
      { id: 1, a: 'x' },
      { id: 2, a: '\u0001\u0101é' },
      { id: 2, a: '\u0001\u0101é' },
    ]);
  });

  it('refuses a file that has fewer lines', async () => {
    await bench.db.query('drop table if exists t; create table t (id int, a text)');
    await bench.write({ 'in.csv': 'id,a\n1,x\n' });
    expect((await bench.load({ csv: { skipLines: 3 } })).task?.error).to.include({ code: 'ETL-3502' });
  });
});

describe('a load of a file without quotes', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());

  const values = [
    '"',
    '"a',
    'a"b"c',
    "it's",
    '\\N',
    'a\\tb',
    '\u0001',
    '\u0001a\u0001\u0001',
    'x,y',
    '\\',
    'é"',
  ];
  for (const [title, source] of PATHS) {
    it(`keeps every quote, ${title}`, async () => {
      await bench.db.query(
        `drop table if exists t; ${source.create === true ? '' : 'create table t (id int, a text)'}`,
      );
      const isPart = source.schema === 'discard';
      const lines = values.map((value, i) => `${i}\t${value}${isPart ? '\t9' : ''}\n`);
      await bench.write({ 'in.tsv': `id\ta${isPart ? '\tmore' : ''}\n${lines.join('')}` });
      const { task } = await bench.load({ from: 'in.tsv', csv: { quote: false, null: 'NULL' }, ...source });
      expect(task?.error).to.equal(undefined);
      const rows = await bench.db.query<{ a: string }>('select a from t order by id');
      expect(rows.map(({ a }) => a)).to.deep.equal(values);
    });
  }

  it('refuses `escape`, and is typed', () => {
    const define = (csv: LoadSource['csv']) =>
      dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.load('l', { from: 'in.csv', into: 't', mode: 'append', ...(csv && { csv }) });
      });
    expect(() => define({ quote: false, escape: '\\' })).to.throw('`csv.escape` is for quotes');
    // @ts-expect-error -- true is not a quote
    expect(() => define({ quote: true })).to.throw('one character or false');
    // @ts-expect-error -- not a number
    expect(() => define({ skipLines: '1' })).to.throw('a whole number from 0');
    expect(() => define({ skipLines: 1, quote: false })).not.to.throw();
  });
});
