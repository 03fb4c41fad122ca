import { expect } from 'chai';
import type { CsvInputOptions } from '../../../../src/runtime/tasks/load/csv-format.js';
import { dag } from '../../../../src/runtime/dag/dag.js';
import { openWorkbench, type Workbench } from './workbench.js';

describe('a load of CSV files', () => {
  let bench: Workbench;
  before(async () => {
    bench = await openWorkbench();
    await bench.db.query('create table t (id int, a text)');
  });
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(() => bench.db.query('truncate t'));
  const rows = () => bench.db.query('select id, a from t order by id, a');

  it('reads the files one after the other, each by its own header', async () => {
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

  it('names the file of a refused row, and stores nothing', async () => {
    await bench.write({ 'a.csv': 'id\n1\n', 'b.csv': 'id\n2\nx\n' });
    const { task } = await bench.load({ from: ['a.csv', 'b.csv'], mode: 'replace' });
    expect(task?.error?.where).to.match(/\nb\.csv:3, column "id" \(COPY t\)$/);
    expect(task?.error?.message).to.equal('invalid input syntax for type integer: "…"');
    expect(await rows()).to.deep.equal([]);
  });

  it('refuses files with different columns', async () => {
    await bench.write({ 'a.csv': 'id\n1\n', 'b.csv': 'id,a\n2,x\n' });
    const { task } = await bench.load({ from: ['a.csv', 'b.csv'] });
    expect(task?.error).to.include({ code: 'ETL-3513', why: 'it also has "a"' });
    expect(await rows()).to.deep.equal([]);
  });

  it('gets its file from a function of the typed context', async () => {
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
    ['a tab as delimiter', 'id\ta\n1\tx,y\n', { delimiter: '\t' }],
    ['other quotes and escapes', `id,a\n1,'x,y'\n`, { quote: "'", escape: '\\' }],
    ['another escape', `id,a\n1,"x,y"\n`, { escape: '\\' }],
    ['a word for NULL', 'id,a\n1,"x,y"\nNA,NA\n', { null: 'NA' }],
    ['no header line', '"x,y",1\n', { header: false, columns: ['a', 'id'] }],
    ['other names in the header', 'no,ä\n1,"x,y"\n', { columns: ['id', 'a'] }],
    ['the encoding latin1', Buffer.from('id,"a"\n1,"x,y"\n', 'latin1'), { encoding: 'latin1' }],
  ];
  for (const [title, text, csv] of forms) {
    it(`reads a file with ${title}`, async () => {
      await bench.write({ 'in.csv': text });
      const { task } = await bench.load({ csv });
      expect(task?.error).to.equal(undefined);
      expect((await rows())[0]).to.deep.equal({ id: 1, a: 'x,y' });
    });
  }

  it('decodes rows and header with `csv.encoding`', async () => {
    await bench.db.query('alter table t add "größe" text');
    await bench.write({ 'in.csv': Buffer.from('id,größe\n1,weiß\n', 'latin1') });
    const { task } = await bench.load({ csv: { encoding: 'latin1' } });
    const found = await bench.db.query('select "größe" from t');
    await bench.db.query('alter table t drop "größe"');
    expect(task?.error).to.equal(undefined);
    expect(found).to.deep.equal([{ größe: 'weiß' }]);
  });

  it('refuses a header that is not in the encoding of the file', async () => {
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
    [/`key` and `deleteMissing` need `mode: "merge"`/, { key: ['id'] }],
    [
      /`rejects` and `deleteMissing` can't be used together/,
      { mode: 'merge', key: ['id'], deleteMissing: true, rejects: { max: 1, to: 'bad' } },
    ],
    [/expected `rejects.max` to be a whole number/, { rejects: { max: -1, to: 'bad' } }],
    [
      /expected `transform` to be a function, got an Object/,
      { transform: { module: new URL('file:///clean.js'), name: 'clean' } },
    ],
    [/expected `schema` to be "freeze" or "evolve" or "discard"/, { schema: 'thaw' }],
  ];
  for (const [what, source] of wrong) {
    it(`refuses the options ${JSON.stringify(source)} when the Dag is defined`, () => {
      expect(() =>
        dag('d', {}, (d) => d.load('l', { from: 'x', into: 't', mode: 'append', ...source })),
      ).to.throw(what);
    });
  }

  it('has a typed result in tasks that need it', () => {
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
