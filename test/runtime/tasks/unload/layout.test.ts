import { expect } from 'chai';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { UnloadProject, type UnloadOptions } from './unload-project.js';

describe('a partitioned unload', () => {
  let project: UnloadProject;
  before(async () => (project = await UnloadProject.open()));
  after(() => project[Symbol.asyncDispose]());
  beforeEach(() => project.clear());

  const numbers = (count: number) => `select n, n || E'\\n"' as text from generate_series(1, ${count}) n`;
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => `${from + i},"${from + i}\n"""\n`).join('');

  it('writes `rows` rows per file, and a header in each file', async () => {
    const result = await project.unload({ query: numbers(5), to: 'o.csv', partition: { rows: 2 } });
    expect(await project.files()).to.deep.equal(['o.part-00001.csv', 'o.part-00002.csv', 'o.part-00003.csv']);
    expect(await project.text('o.part-00001.csv')).to.equal(`n,text\n${lines(1, 2)}`);
    expect(await project.text('o.part-00003.csv')).to.equal(`n,text\n${lines(5, 5)}`);
    expect(result).to.deep.include({ rows: 5, files: await project.files() });
  });

  it('writes at most `bytes` bytes per file before compression', async () => {
    const options = { query: numbers(100_000), to: 'o.csv.gz', partition: { bytes: 500_000 } };
    const { files } = (await project.unload(options)) as { files: string[] };
    const texts: string[] = [];
    for (const file of files)
      texts.push(
        gunzipSync(await project.bytes(file))
          .toString()
          .slice('n,text\n'.length),
      );
    expect(files.length).to.be.greaterThan(2);
    expect(Math.max(...texts.map(({ length }) => length))).to.be.within(499_900, 500_000);
    expect(texts.join('')).to.equal(lines(1, 100_000));
  });

  const formats: readonly [to: string, options: Partial<UnloadOptions>, de: string][] = [
    ['o.csv', {}, 'country,n\nDE,1\nDE,3\n'],
    ['o.csv', { csv: { forceQuote: true, header: false, quote: "'" } }, "'DE','1'\n'DE','3'\n"],
    ['o.ndjson', {}, '{"country":"DE","n":1}\n{"country":"DE","n":3}\n'],
  ];
  for (const [to, options, expected] of formats) {
    it(`writes a directory for each value of a column, for ${to} ${JSON.stringify(options)}`, async () => {
      const query = `select * from (values ('DE', 1), ('FR', 2), ('DE', 3), (null, 4)) v (country, n)`;
      await project.unload({ query, to, partition: { by: 'country' }, ...options });
      expect(await project.files()).to.deep.equal([
        `country=DE/${to}`,
        `country=FR/${to}`,
        `country=__HIVE_DEFAULT_PARTITION__/${to}`,
      ]);
      expect(await project.text(`country=DE/${to}`)).to.equal(expected);
    });
  }

  it('keeps the order of the query in each file', async () => {
    const query = 'select n % 2 as odd, n from generate_series(1, 1000) n order by n desc';
    await project.unload({ query, to: 'o.csv', partition: { by: 'odd' } });
    const rows = (await project.text('odd=1/o.csv'))
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => Number(line.slice(2)));
    expect(rows).to.deep.equal(Array.from({ length: 500 }, (_, i) => 999 - 2 * i));
  });

  const values: readonly [value: string, directory: string][] = [
    ['../../x', 'v=..%2F..%2Fx'],
    ['/etc', 'v=%2Fetc'],
    ['..', 'v=..'],
    ['', 'v='],
    ['a\\b:c*d?"<>|', 'v=a%5Cb%3Ac%2Ad%3F%22%3C%3E%7C'],
    ['x\ny', 'v=x%0Ay'],
    ["it's é", 'v=it%27s%20%C3%A9'],
    ['__HIVE_DEFAULT_PARTITION__', 'v=%5F_HIVE_DEFAULT_PARTITION__'],
  ];
  for (const [value, directory] of values) {
    it(`escapes the value ${JSON.stringify(value)} so that the file stays in its directory`, async () => {
      const query = { text: 'select $1::text as v, 1 as n', values: [value] };
      await project.unload({ query, to: 'x/y/o.csv', partition: { by: 'v' } });
      expect(await project.files()).to.deep.equal([`x/y/${directory}/o.csv`]);
    });
  }

  it('removes the files of an earlier run that it has not written, and nothing else', async () => {
    const others = ['o.csv', 'o.part-1.csv', 'o.part-00001.csv.bak', 'o.part-x0001.csv', 'p.part-00009.csv'];
    for (const name of others) await writeFile(join(project.root, name), '');
    await project.unload({ query: numbers(5), to: 'o.csv', partition: { rows: 1 } });
    await project.unload({ query: numbers(2), to: 'o.csv', partition: { rows: 1 } });
    expect(await project.files()).to.deep.equal(
      [...others, 'o.part-00001.csv', 'o.part-00002.csv'].toSorted(),
    );
  });

  it('removes the files of values that no longer exist, with their empty directories', async () => {
    const createOptions = (...all: string[]) => ({
      query: { text: 'select unnest($1::text[]) as v', values: [all] },
      to: 'o.csv',
      partition: { by: 'v' },
    });
    await project.unload(createOptions('a', 'b', 'c'));
    await writeFile(join(project.root, 'v=b/mine.txt'), '');
    await mkdir(join(project.root, 'w=a'));
    await writeFile(join(project.root, 'w=a/o.csv'), '');
    await project.unload(createOptions('a'));
    expect(await project.files()).to.deep.equal(['v=a/o.csv', 'v=b/mine.txt', 'w=a/o.csv']);
  });

  it('leaves all files as they were if the query fails after some rows', async () => {
    const query = 'select n, 1 / (150000 - n) as x from generate_series(1, 200000) n';
    await project.unload({ query: 'select 1 as n, 2 as x', to: 'o.csv', partition: { rows: 1000 } });
    const { tasks } = await project.run({ query, to: 'o.csv', partition: { rows: 1000 } });
    expect(tasks[0]?.error?.code).to.equal('ETL-3001');
    expect(await project.files()).to.deep.equal(['o.part-00001.csv']);
    expect(await project.text('o.part-00001.csv')).to.equal('n,x\n1,2\n');
  });

  const empty: readonly [options: Partial<UnloadOptions>, files: readonly string[]][] = [
    [{ to: 'o.csv', partition: { rows: 10 } }, ['o.part-00001.csv']],
    [{ to: 'o.ndjson', partition: { bytes: 10 } }, ['o.part-00001.ndjson']],
    [{ to: 'o.csv', partition: { by: 'n' } }, []],
  ];
  for (const [options, files] of empty) {
    it(`writes ${files.join() || 'no file'} for a query without rows and ${JSON.stringify(options.partition)}`, async () => {
      await project.unload({ query: 'select 1 as n where false', to: '', ...options });
      expect(await project.files()).to.deep.equal(files);
      if (options.to === 'o.csv' && files[0] !== undefined)
        expect(await project.text(files[0])).to.equal('n\n');
    });
  }
});
