import { expect } from 'chai';
import type { CsvInputOptions } from '../../../../src/runtime/tasks/load/csv-format.js';
import { dag } from '../../../../src/runtime/dag/dag.js';
import { openWorkbench, type Workbench } from './workbench.js';

describe('the files of a load', () => {
  let bench: Workbench;
  before(async () => {
    bench = await openWorkbench();
    await bench.db.query('create table t (id int, a text)');
  });
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(() => bench.db.query('truncate t'));
  const rows = () => bench.db.query('select id, a from t order by id, a');

  it('are loaded one after the other, each by its own header', async () => {
    await bench.write({ 'a.csv': 'id,a\n1,x\n', 'none.csv': '', 'b.csv': 'a,id\ny,2\n' });
    const { task, result } = await bench.load({ from: ['a.csv', 'none.csv', 'b.csv'] });
    expect(task?.error).to.equal(undefined);
    expect(await rows()).to.deep.equal([
      { id: 1, a: 'x' },
      { id: 2, a: 'y' },
    ]);
    expect(result).to.deep.equal({
      rows: 2,
      inserted: 2,
      updated: 0,
      deleted: 0,
      rejected: 0,
      bytes: 18,
      files: 3,
    });
  });

  it('are named where a row does not fit, and nothing is kept', async () => {
    await bench.write({ 'a.csv': 'id\n1\n', 'b.csv': 'id\n2\nx\n' });
    const { task } = await bench.load({ from: ['a.csv', 'b.csv'], mode: 'replace' });
    expect(task?.error?.where).to.match(/file "b.csv"\nCOPY t, line 3, column "id"$/);
    expect(task?.error?.message).to.equal('invalid input syntax for type integer: "x"');
    expect(await rows()).to.deep.equal([]);
  });

  it('must have the same columns', async () => {
    await bench.write({ 'a.csv': 'id\n1\n', 'b.csv': 'id,a\n2,x\n' });
    const { task } = await bench.load({ from: ['a.csv', 'b.csv'] });
    expect(task?.error).to.include({ code: 'ETL-3513', why: 'it also has "a"' });
    expect(await rows()).to.deep.equal([]);
  });

  it('can be told by a function of the context, with its types', async () => {
    await bench.write({ 'p.csv': 'id\n1\n' });
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.load('l', {
        with: { name: 'p' },
        from: async ({ with: { name } }) => `${name}.csv`,
        into: 't',
        mode: 'append',
      });
    });
    const { task, result } = await bench.run(graph);
    expect(task?.error).to.equal(undefined);
    expect(result).to.include({ rows: 1 });
  });

  const forms: readonly [title: string, text: string | Buffer, csv: CsvInputOptions][] = [
    ['another delimiter', 'id;a\n1;x,y\n', { delimiter: ';' }],
    ['a tab', 'id\ta\n1\tx,y\n', { delimiter: '\t' }],
    ['other quotes and escapes', `id,a\n1,'x,y'\n`, { quote: "'", escape: '\\' }],
    ['an escaped quote', `id,a\n1,"x,y"\n`, { escape: '\\' }],
    ['a word for NULL', 'id,a\n1,"x,y"\nNA,NA\n', { null: 'NA' }],
    ['no header', '"x,y",1\n', { header: false, columns: ['a', 'id'] }],
    ['other names in the header', 'no,ä\n1,"x,y"\n', { columns: ['id', 'a'] }],
    ['latin1', Buffer.from('id,"a"\n1,"x,y"\n', 'latin1'), { encoding: 'latin1' }],
  ];
  for (const [title, text, csv] of forms) {
    it(`may have ${title}`, async () => {
      await bench.write({ 'in.csv': text });
      const { task } = await bench.load({ csv });
      expect(task?.error).to.equal(undefined);
      expect((await rows())[0]).to.deep.equal({ id: 1, a: 'x,y' });
    });
  }

  it('are read in their encoding, the header too', async () => {
    await bench.db.query('alter table t add "größe" text');
    await bench.write({ 'in.csv': Buffer.from('id,größe\n1,weiß\n', 'latin1') });
    const { task } = await bench.load({ csv: { encoding: 'latin1' } });
    const found = await bench.db.query('select "größe" from t');
    await bench.db.query('alter table t drop "größe"');
    expect(task?.error).to.equal(undefined);
    expect(found).to.deep.equal([{ größe: 'weiß' }]);
  });

  it('say so when their header is of another encoding', async () => {
    await bench.write({ 'in.csv': Buffer.from('id,größe\n1,weiß\n', 'latin1') });
    const { task } = await bench.load();
    expect(task?.error).to.include({ code: 'ETL-3503' });
    expect(task?.error?.message).to.include('not in the encoding UTF-8');
  });

  const wrong: readonly [what: RegExp, source: Record<string, unknown>][] = [
    [/`csv.delimiter` must be one ASCII character/, { csv: { delimiter: '||' } }],
    [/`csv.quote` must be one ASCII character/, { csv: { quote: '«' } }],
    [/`csv.delimiter` and `csv.quote` must differ/, { csv: { delimiter: '"' } }],
    [/`csv.null` must not hold/, { csv: { null: 'a,b' } }],
    [/a CSV file without a header needs `csv.columns`/, { csv: { header: false } }],
    [/`csv.encoding` "klingon" is not known/, { csv: { encoding: 'klingon' } }],
    [/there is no option `csv.delimeter`; did you mean "delimiter"/, { csv: { delimeter: ';' } }],
    [/a merge needs a `key`/, { mode: 'merge' }],
    [/`key` and `deleteMissing` belong to `mode: "merge"`/, { key: ['id'] }],
    [
      /`rejects` and `deleteMissing` do not go together/,
      { mode: 'merge', key: ['id'], deleteMissing: true, rejects: { max: 1, to: 'bad' } },
    ],
    [/Expected `rejects.max` to be a whole number/, { rejects: { max: -1, to: 'bad' } }],
    [
      /Expected `transform` to be a function, got an Object/,
      { transform: { module: new URL('file:///clean.js'), name: 'clean' } },
    ],
    [/Expected `schema` to be "freeze" or "evolve" or "discard"/, { schema: 'thaw' }],
  ];
  for (const [what, source] of wrong) {
    it(`are not read where options do not fit: ${JSON.stringify(source)}`, () => {
      expect(() =>
        dag('d', {}, (d) => d.load('l', { from: 'x', into: 't', mode: 'append', ...source })),
      ).to.throw(what);
    });
  }

  it('are typed', () => {
    dag('d', {}, (d) => {
      const l = d.load('l', { from: 'x', into: 't', mode: 'append' });
      d.load('m', {
        needs: { l },
        from: ({ upstream }) => `${upstream.l.rows satisfies number}`,
        into: 't',
        mode: 'append',
      });
      // @ts-expect-error -- there is no such upstream
      d.load('n', { needs: { l }, from: ({ upstream }) => upstream.raw, into: 't', mode: 'append' });
    });
  });
});
