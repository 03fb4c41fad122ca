import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { UnloadProject, type UnloadOptions } from './unload-project.js';

describe('an unload task', () => {
  let project: UnloadProject;
  before(async () => {
    project = await UnloadProject.open();
    await project.db.query(`
      create table t (id int, name text, at timestamptz);
      insert into t values (1, 'a,b', '2026-01-02 03:04:05.678901Z'), (2, null, null), (3, '', null), (4, E'x "y"\\nz', null)`);
  });
  after(() => project[Symbol.asyncDispose]());
  beforeEach(() => project.clear());

  const query = 'select id, name from t order by id';
  const good: readonly [title: string, options: Partial<UnloadOptions>, file: string, expected: string][] = [
    [
      'CSV with a header, with different texts for NULL and an empty text',
      {},
      'o.csv',
      'id,name\n1,"a,b"\n2,\n3,""\n4,"x ""y""\nz"\n',
    ],
    ['a query that ends in a comment', { query: 'select 1 as a -- one' }, 'o.csv', 'a\n1\n'],
    ['a query with a semicolon', { query: 'values (1), (2);' }, 'o.csv', 'column1\n1\n2\n'],
    ['CSV without a header', { query: 'select 1', csv: { header: false } }, 'o.csv', '1\n'],
    [
      'CSV with another delimiter, quote and NULL text',
      { csv: { delimiter: ';', quote: "'", null: '\\N' } },
      'o.csv',
      `id;name\n1;a,b\n2;\\N\n3;\n4;'x "y"\nz'\n`,
    ],
    [
      'CSV with tabs as delimiter',
      { query: `select 1 as a, 'x' as b`, csv: { delimiter: '\t' } },
      'o.csv',
      'a\tb\n1\tx\n',
    ],
    [
      'CSV with every value quoted',
      { query: 'select 1 as a, null as b', csv: { forceQuote: true } },
      'o.csv',
      'a,b\n"1",\n',
    ],
    ['only the header for a query without rows', { query: 'select 1 as a where false' }, 'o.csv', 'a\n'],
    [
      'NDJSON',
      {},
      'o.ndjson',
      '{"id":1,"name":"a,b"}\n{"id":2,"name":null}\n{"id":3,"name":""}\n{"id":4,"name":"x \\"y\\"\\nz"}\n',
    ],
    [
      'NDJSON with all digits of large and precise numbers',
      { query: 'select 9223372036854775807 as n, 0.1::numeric(30,20) as d' },
      'o.jsonl',
      '{"n":9223372036854775807,"d":0.10000000000000000000}\n',
    ],
    [
      'a json value with line breaks as one line',
      { query: `select E'{"a":\\r\\n1,"b":"x\\\\n"}'::json as j` },
      'o.ndjson',
      '{"j":{"a":  1,"b":"x\\n"}}\n',
    ],
    [
      'control characters in NDJSON',
      { query: `select E'\\x01\\x02' as c` },
      'o.ndjson',
      '{"c":"\\u0001\\u0002"}\n',
    ],
    [
      'a column with the name `rows`',
      { query: 'select 1 as "rows", 2 as query' },
      'o.ndjson',
      '{"rows":1,"query":2}\n',
    ],
    [
      'the format of `format`, whatever the extension',
      { query: 'select 1 as a', format: 'ndjson' },
      'o.txt',
      '{"a":1}\n',
    ],
    ['a file in missing directories', { query: 'select 1 as a' }, 'x/y/o.csv', 'a\n1\n'],
  ];
  for (const [title, options, to, expected] of good) {
    it(`writes ${title}`, async () => {
      await project.unload({ query, ...options, to });
      expect(await project.text(to)).to.equal(expected);
      expect(await project.files()).to.deep.equal([to]);
    });
  }

  it('writes a table, and stores its result in the ledger', async () => {
    expect(await project.unload({ table: 't', to: 'o.csv' })).to.deep.equal({
      rows: 4,
      bytes: (await project.bytes('o.csv')).length,
      files: ['o.csv'],
    });
  });

  it('gets the query and the path from functions of the context', async () => {
    const result = await project.unload({
      query: ({ run }) => ({ text: 'select id from t where id > $1 order by 1', values: [run.attempt + 1] }),
      to: ({ run }) => `${run.dagId}.csv`,
    });
    expect(result).to.include({ rows: 2 });
    expect(await project.text('d.csv')).to.equal('id\n3\n4\n');
  });

  it('writes a file in another encoding', async () => {
    await project.unload({ query: `select 'é' as a`, to: 'o.csv', csv: { encoding: 'LATIN1' } });
    expect(await project.bytes('o.csv')).to.deep.equal(Buffer.from('a\né\n', 'latin1'));
  });

  it('reports all rows and bytes in its last progress event', async () => {
    const { events } = await project.run({ query: 'select n from generate_series(1, 1000) n', to: 'o.csv' });
    const moved = events.filter(({ type }) => type === 'task_progress');
    expect(moved.at(-1)).to.include({ rows: 1000, bytes: (await project.bytes('o.csv')).length });
  });

  const compressed: readonly [to: string, read: (bytes: Buffer) => Buffer][] = [
    ['o.csv.gz', gunzipSync],
    ['o.ndjson.br', brotliDecompressSync],
  ];
  for (const [to, read] of compressed) {
    it(`compresses ${to} by its extension`, async () => {
      await project.unload({ query: 'select n from generate_series(1, 100000) n', to });
      const lines = read(await project.bytes(to))
        .toString()
        .trim()
        .split('\n');
      expect(lines.slice(-1)[0]).to.match(/100000/);
      expect(lines.filter((line) => line !== 'n')).to.have.lengthOf(100_000);
    });
  }

  it('replaces the file of an earlier run, and replaces a link but not the file behind it', async () => {
    await writeFile(join(project.root, 'other'), 'mine');
    await symlink('other', join(project.root, 'o.csv'));
    await project.unload({ query: 'select 1 as a', to: 'o.csv' });
    await project.unload({ query: 'select 2 as a', to: 'o.csv' });
    expect(await project.text('o.csv')).to.equal('a\n2\n');
    expect(await project.text('other')).to.equal('mine');
  });

  const wrong: readonly [title: string, options: Partial<UnloadOptions>, code: string, what: RegExp][] = [
    [
      'a query that fails after some rows',
      { query: 'select 1 / (5000 - n) from generate_series(1, 10000) n' },
      'ETL-3001',
      /division by zero/,
    ],
    ['a query that writes', { query: 'insert into t values (9) returning id' }, 'ETL-3001', /read-only/],
    ['a function that writes', { query: `select nextval('s')` }, 'ETL-3001', /read-only/],
    ['two queries', { query: 'select 1; select 2' }, 'ETL-3602', /one query/],
    ['a text without a query', { query: '-- nothing' }, 'ETL-3602', /none/],
    [
      'a missing value',
      { query: { text: 'select $1, $2', values: [1] } },
      'ETL-3602',
      /the parameters \$1, \$2, but `values` has 1 items/,
    ],
    ['a value too many', { query: { text: 'select 1', values: [1] } }, 'ETL-3602', /no parameters/],
    ['a file of no known format', { to: () => 'o.txt' }, 'ETL-2303', /"o.txt" is not known/],
    [
      'two columns with the same name in NDJSON',
      { query: 'select 1 as a, 2 as a', to: 'o.ndjson' },
      'ETL-3606',
      /"a"/,
    ],
    ['a partition by a missing column', { partition: { by: 'nmae' } }, 'ETL-3606', /did you mean "name"/],
    ['a path that is a directory', { to: 'directory.csv' }, 'ETL-3604', /can't be replaced/],
    ['a path that is a device', { to: '/dev/null', format: 'csv' }, 'ETL-3604', /can't be replaced/],
    ['a path through a file', { to: 'file/o.csv' }, 'ETL-3601', /"file\/o.csv" can't be written/],
    ['a name that is too long', { to: `${'x'.repeat(300)}.csv` }, 'ETL-3601', /can't be written/],
  ];
  it('fails for a path that is a named pipe, without waiting for a reader of the pipe', async () => {
    execFileSync('mkfifo', [join(project.root, 'pipe')]);
    const { tasks } = await project.run({ query, to: 'pipe', format: 'csv' });
    expect(tasks[0]?.error?.code).to.equal('ETL-3604');
  });

  for (const [title, options, code, what] of wrong) {
    it(`fails for ${title}, names the cause, and leaves the file as it was`, async () => {
      await project.db.query('create sequence if not exists s');
      await mkdir(join(project.root, 'directory.csv'));
      await writeFile(join(project.root, 'file'), '');
      await writeFile(join(project.root, 'o.csv'), 'before');
      const { tasks } = await project.run({ query, to: 'o.csv', ...options });
      expect(tasks[0]?.error?.code).to.equal(code);
      expect(`${tasks[0]?.error?.message} ${tasks[0]?.error?.why}`).to.match(what);
      expect(await project.text('o.csv')).to.equal('before');
      expect(await project.files()).to.deep.equal(['file', 'o.csv']);
    });
  }
});
