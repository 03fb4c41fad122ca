import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { openWorkbench, type Workbench } from './workbench.js';

describe('a load with `rejects`', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(async () => {
    await bench.db.query('drop table if exists child, t, p, bad cascade');
    await bench.db.query('create table p (id int primary key)');
    await bench.db.query('insert into p values (1), (2)');
    await bench.db.query(
      `create table t (id int primary key, a text not null, n int check (n > 0), p int references p)`,
    );
  });

  const ids = async () =>
    (await bench.db.query<{ id: number }>('select id from t order by id')).map(({ id }) => id);
  const bad = () => bench.db.query('select file, line::int, reason, raw from bad order by line');

  const reasons: readonly [title: string, row: string, reason: RegExp][] = [
    ['a value of the wrong type', 'x,a,1,1', /invalid input syntax for type integer: "x" \(SQLSTATE 22P02/],
    ['a number out of range', '3000000000,a,1,1', /out of range/],
    ['a missing value', '7,,1,1', /null value in column "a"/],
    ['a broken check', '7,a,-1,1', /violates check constraint/],
    ['a key that exists already', '1,again,1,1', /duplicate key/],
    ['a foreign key to a missing row', '7,a,1,99', /violates foreign key/],
    ['too many values', '7,a,1,1,1', /extra data/],
    ['too few values', '7,a', /missing data/],
    ['bytes that are not in the encoding', '7,\xff,1,1', /invalid byte sequence/],
  ];
  for (const [title, row, reason] of reasons) {
    it(`stores a row with ${title} with its line, reason and text`, async () => {
      const text = `id,a,n,p\n1,one,1,1\n2,"t\nwo",2,2\n${row}\n3,three,3,\n`;
      await bench.write({ 'in.csv': Buffer.from(text, 'latin1') });
      const { task, result } = await bench.load({ rejects: { max: 1, to: 'bad' } });
      expect(task?.error).to.equal(undefined);
      expect(await ids()).to.deep.equal([1, 2, 3]);
      const [reject] = await bad();
      expect(reject).to.include({ file: 'in.csv', line: 5, raw: row.replace('\xff', '\ufffd') });
      expect(reject?.['reason']).to.match(reason);
      expect(result).to.include({ rows: 3, inserted: 3, rejected: 1 });
      expect(task?.rows).to.equal(3);
    });
  }

  it('finds a single wrong row near the end of a large file', async () => {
    const rows = Array.from({ length: 20_000 }, (_, i) => `${i},"${'long '.repeat(i % 9)}\n${i}",1,1`);
    rows[19_990] = 'x,a,1,1';
    await bench.write({ 'in.csv': `id,a,n,p\n${rows.join('\n')}\n` });
    const { task, result } = await bench.load({ rejects: { max: 1, to: 'bad' } });
    expect(task?.error).to.equal(undefined);
    expect(result).to.include({ rows: 19_999, rejected: 1 });
    expect(await bad()).to.deep.include.members([
      { file: 'in.csv', line: 2 + 2 * 19_990, reason: (await bad())[0]?.['reason'], raw: 'x,a,1,1' },
    ]);
    const [{ wrong } = { wrong: -1 }] = await bench.db.query<{ wrong: number }>(
      `select count(*)::int as wrong from t where a <> repeat('long ', id % 9) || E'\\n' || id`,
    );
    expect(wrong).to.equal(0);
  });

  it('finds each of many wrong rows among many right rows', async () => {
    const rows = Array.from({ length: 20_000 }, (_, i) =>
      i % 97 === 5
        ? `${i},a,0,1`
        : i % 1013 === 7
          ? `${i},a,1,99`
          : i % 500 === 9
            ? `${i},"a ""\n""",1,1`
            : `${i},a,1,1`,
    );
    await bench.write({ 'in.csv': `id,a,n,p\n${rows.join('\n')}\n` });
    const { task, result } = await bench.load({ rejects: { max: 1000, to: 'bad' } });
    expect(task?.error).to.equal(undefined);
    const expected = rows.flatMap((_, i) => (i % 97 === 5 || i % 1013 === 7 ? [] : [i]));
    expect(await ids()).to.deep.equal(expected);
    expect(result).to.include({ rows: expected.length, rejected: rows.length - expected.length });
    const raws = (await bad()).map(({ raw }) => raw);
    expect(raws).to.deep.equal(rows.filter((_, i) => i % 97 === 5 || i % 1013 === 7));
  });

  it('fails if more than `max` rows are rejected, and stores nothing', async () => {
    await bench.write({ 'in.csv': 'id,a\n1,a\nx,a\ny,a\n2,a\n' });
    const { task } = await bench.load({ rejects: { max: 1, to: 'bad' } });
    expect(task?.error).to.include({ code: 'ETL-3521', message: 'more than 1 row was rejected' });
    expect(task?.error?.where).to.equal('in.csv, line 4');
    expect(task?.error?.why).to.include('invalid input syntax');
    expect(await ids()).to.deep.equal([]);
    expect(await bench.db.query(`select to_regclass('bad') as bad`)).to.deep.equal([{ bad: null }]);
  });

  it('appends to an existing table of rejected rows', async () => {
    await bench.write({ 'in.csv': 'id,a\nx,a\n' });
    await bench.load({ rejects: { max: 1, to: 'bad' } });
    await bench.load({ rejects: { max: 1, to: 'public.bad' } });
    expect(await bad()).to.have.lengthOf(2);
  });

  it('refuses a table for rejected rows that has other columns', async () => {
    await bench.write({ 'in.csv': 'id,a\nx,a\n' });
    const { task } = await bench.load({ rejects: { max: 1, to: 'p' } });
    expect(task?.error?.code).to.equal('ETL-3513');
  });

  it('writes rejected rows to a file, and replaces the file in the next load', async () => {
    const rejects = { max: 5, to: 'bad.ndjson' };
    await bench.write({ 'in.csv': 'id,a\n1,a\nx,"a\nb"\n', 'good.csv': 'id,a\n2,a\n' });
    await bench.load({ rejects });
    const [line, end] = (await readFile(join(bench.root, 'bad.ndjson'), 'utf8')).split('\n');
    expect(JSON.parse(line ?? '')).to.include({ file: 'in.csv', line: 3, raw: 'x,"a\nb"' });
    expect(end).to.equal('');
    await bench.load({ rejects, from: 'good.csv' });
    expect(await readFile(join(bench.root, 'bad.ndjson'), 'utf8')).to.equal('');
  });

  it('fails if the file for rejected rows can not be written', async () => {
    await bench.write({ 'in.csv': 'id,a\nx,a\n' });
    const { task } = await bench.load({ rejects: { max: 5, to: 'nowhere/bad.ndjson' } });
    expect(task?.error).to.include({ code: 'ETL-3522', why: 'ENOENT' });
  });

  it('puts aside rows that a merge can not use: wrong values, null keys and duplicate keys', async () => {
    await bench.db.query(`insert into t values (1, 'old', 1, null), (2, 'old', 1, null)`);
    await bench.write({ 'in.csv': 'a,id,n\nnew,1,1\nnew,1,1\nx,,1\nx,3,0\n,4,1\nnew,5,1\nx,y,1\n' });
    const { task, result } = await bench.load({ mode: 'merge', key: ['id'], rejects: { max: 9, to: 'bad' } });
    expect(task?.error).to.equal(undefined);
    expect(result).to.include({ rows: 2, inserted: 1, updated: 1, rejected: 5 });
    expect(await bench.db.query('select id, a from t order by id')).to.deep.equal([
      { id: 1, a: 'new' },
      { id: 2, a: 'old' },
      { id: 5, a: 'new' },
    ]);
    expect((await bad()).map(({ line }) => line)).to.deep.equal([3, 4, 5, 6, 8]);
  });

  const shapes: readonly [title: string, text: string, csv?: object][] = [
    ['CRLF line breaks', 'id,a\r\n1,a\r\nx,a\r\n2,"b\r\n"\r\n'],
    ['CR line breaks', 'id,a\r1,a\rx,a\r2,b\r'],
    ['no line break at the end', 'id,a\n1,a\nx,a\n2,a'],
    [
      'other quotes and escapes',
      `id;a\n1;'a\\'\n'\nx;a\n2;b\n`,
      { delimiter: ';', quote: "'", escape: '\\' },
    ],
    ['no header', '1,a\nx,a\n2,b\n', { header: false, columns: ['id', 'a'] }],
    ['a byte order mark', '\ufeffid,a\n1,a\nx,a\n2,b\n'],
  ];
  for (const [title, text, csv] of shapes) {
    it(`finds a wrong row in a file with ${title}`, async () => {
      await bench.write({ 'in.csv': text });
      const { task } = await bench.load({ rejects: { max: 1, to: 'bad' }, ...(csv && { csv }) });
      expect(task?.error).to.equal(undefined);
      expect(await ids()).to.deep.equal([1, 2]);
      expect((await bad()).map(({ raw }) => (raw as string).replace(';', ','))).to.deep.equal(['x,a']);
    });

    it(`finds them in a stream with ${title} that comes byte by byte`, async () => {
      const from = () => Readable.from(Array.from(Buffer.from(text), (byte) => Buffer.of(byte)));
      const { task } = await bench.load({ from, rejects: { max: 1, to: 'bad' }, ...(csv && { csv }) });
      expect(task?.error).to.equal(undefined);
      expect(await ids()).to.deep.equal([1, 2]);
      expect((await bad()).map(({ raw }) => (raw as string).replace(';', ','))).to.deep.equal(['x,a']);
    });
  }
});
