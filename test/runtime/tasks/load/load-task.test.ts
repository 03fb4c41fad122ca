import { expect } from 'chai';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dag } from '../../../../src/runtime/dag/dag.js';
import { ROOT } from '../../../support/cli.js';
import { createDatabase, type TestDatabase } from '../../../support/database.js';
import { runOn } from '../../../support/run.js';

describe('a load task', () => {
  let db: TestDatabase;
  let root: string;
  before(async () => {
    db = await createDatabase();
    await db.query(
      'create table t (a text, b int, "Weird, ""name" text); create view seen as select a from t',
    );
    await mkdir(join(ROOT, '.etl/test'), { recursive: true });
    root = await mkdtemp(join(ROOT, '.etl/test/load-'));
  });
  after(async () => {
    await rm(root, { recursive: true });
    await db.drop();
  });
  beforeEach(() => db.query('truncate t cascade'));

  async function load(text: string | Buffer, mode: 'append' | 'replace' = 'append', into = 't') {
    await writeFile(join(root, 'in.csv'), text);
    const graph = dag(
      'd',
      { defaults: { conn: 'db' } },
      (d) => void d.load('l', { from: 'in.csv', into, mode }),
    );
    const { tasks } = await runOn({ db: db.url }, graph, { root });
    return tasks[0];
  }
  const rows = () => db.query('select a, b from t order by b, a');

  const good: readonly [title: string, text: string | Buffer, expected: unknown[]][] = [
    [
      'columns in any order',
      'b,a\n1,x\n2,y\n',
      [
        { a: 'x', b: 1 },
        { a: 'y', b: 2 },
      ],
    ],
    ['only some of the columns', 'a\nx\n', [{ a: 'x', b: null }]],
    ['no line break at the end', 'a,b\nx,1', [{ a: 'x', b: 1 }]],
    ['CRLF line breaks', 'a,b\r\nx,1\r\n', [{ a: 'x', b: 1 }]],
    ['a byte order mark', '\ufeffa,b\nx,1\n', [{ a: 'x', b: 1 }]],
    ['a byte order mark before a quote', '\ufeff"a","b"\nx,1\n', [{ a: 'x', b: 1 }]],
    ['quotes, commas and line breaks in values', 'a,b\n"x, ""y""\nz",1\n', [{ a: 'x, "y"\nz', b: 1 }]],
    [
      'an empty value for NULL and a quoted empty value for an empty text',
      'a,b\n,1\n"",2\n',
      [
        { a: null, b: 1 },
        { a: '', b: 2 },
      ],
    ],
    ['a line with the old end mark of COPY in quotes', 'a,b\n"\\.",1\n', [{ a: '\\.', b: 1 }]],
    ['a header and no rows', 'a,b\n', []],
    ['nothing in it', '', []],
  ];
  for (const [title, text, expected] of good) {
    it(`loads a file with ${title}`, async () => {
      const task = await load(text);
      expect(task?.error).to.equal(undefined);
      expect(task?.rows).to.equal(expected.length);
      expect(await rows()).to.deep.equal(expected);
    });
  }

  it('loads a column whose name has quotes, commas and spaces', async () => {
    await load('"Weird, ""name"\nx\n');
    expect(await db.query('select "Weird, ""name" as w from t')).to.deep.equal([{ w: 'x' }]);
  });

  const wrong: readonly [title: string, text: string | Buffer, what: RegExp, where?: RegExp][] = [
    [
      'a value of the wrong type',
      'a,b\nx,1\ny,nonsense\n',
      /invalid input syntax for type integer/,
      /in\.csv:3, column "b" \(COPY t\)$/,
    ],
    ['a column that the table does not have', 'a,c\nx,1\n', /table "t" does not have the column "c"/],
    [
      'a line with too many values',
      'a,b\nx,1,2\n',
      /extra data after last expected column/,
      /in\.csv:2 \(COPY t\)$/,
    ],
    ['a quote that is not closed', 'a,b\n"x,1\n', /unterminated CSV quoted field/],
    ['a header that names a column twice', 'a,a\nx,y\n', /names the column "a" twice/],
    ['a header with an empty name', 'a,,b\nx,y,1\n', /a column without a name/],
    ['a header that does not end', '"a,b\nx,1\n', /the first line of "in.csv" does not end/],
    [
      'bytes that are not valid UTF-8',
      Buffer.from([0x61, 0x0a, 0xff, 0x0a]),
      /invalid byte sequence for encoding "UTF8"/,
    ],
  ];
  for (const [title, text, what, where] of wrong) {
    it(`refuses ${title}, and stores nothing`, async () => {
      await db.query(`insert into t values ('old', 0)`);
      const task = await load(text, 'replace');
      expect(task?.error?.message).to.match(what);
      if (where) expect(task?.error?.where).to.match(where);
      expect(await rows()).to.deep.equal([{ a: 'old', b: 0 }]);
    });
  }

  it('removes the old rows with `replace`, and leaves them with `append`', async () => {
    await load('a,b\nx,1\n');
    await load('a,b\ny,2\n', 'append');
    expect(await rows()).to.have.lengthOf(2);
    await load('a,b\nz,3\n', 'replace');
    expect(await rows()).to.deep.equal([{ a: 'z', b: 3 }]);
    expect(await db.query('select a from seen')).to.deep.equal([{ a: 'z' }]);
  });

  it('replaces the rows of a referenced table, unless a foreign key forbids it', async () => {
    await db.query('create table p (id int primary key); create table c (id int references p)');
    expect((await load('id\n1\n', 'replace', 'p'))?.error).to.equal(undefined);
    expect((await load('id\n2\n', 'replace', 'public.p'))?.error).to.equal(undefined);
    expect(await db.query('select id from p')).to.deep.equal([{ id: 2 }]);
    await db.query('insert into c values (2)');
    expect((await load('id\n3\n', 'replace', 'p'))?.error?.why).to.include('foreign key violation');
    await db.query('drop table c, p');
  });

  it('fails if the file does not exist', async () => {
    const graph = dag(
      'd',
      { defaults: { conn: 'db' } },
      (d) => void d.load('l', { from: 'none.csv', into: 't', mode: 'replace' }),
    );
    const { tasks } = await runOn({ db: db.url }, graph, { root });
    expect(tasks[0]?.error).to.include({ code: 'ETL-3501', why: 'there is no such file' });
  });

  it('stops in the middle of a file when the timeout ends, and leaves no database session open', async () => {
    await writeFile(join(root, 'big.csv'), `a,b\n${'x,1\n'.repeat(2_000_000)}`);
    await db.query(
      'create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.01); return new; end $$',
    );
    await db.query('create trigger slow before insert on t for each row execute function slow()');
    const graph = dag(
      'd',
      { defaults: { conn: 'db', timeout: '300ms' } },
      (d) => void d.load('l', { from: 'big.csv', into: 't', mode: 'append' }),
    );
    const { tasks } = await runOn({ db: db.url }, graph, { root });
    await db.query('drop trigger slow on t');
    expect(tasks[0]?.error?.code).to.equal('ETL-3301');
    expect(await rows()).to.deep.equal([]);
    expect(await db.leftSessions()).to.deep.equal([]);
  });
});
