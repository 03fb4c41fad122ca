import { expect } from 'chai';
import { EtlError } from '../../../src/errors.js';
import { describeTable } from '../../../src/runtime/table/describe.js';
import { writeDescribed } from '../../../src/runtime/table/write.js';
import { type TestDatabase, createDatabase } from '../../support/database.js';
import { inTransaction, sendText, writeTable } from './on-wire.js';
import type { WriteTarget } from '../../../src/runtime/table/write-target.js';

describe('a write to a table', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id int primary key, a text, j json, n numeric)');
    await db.query('create view seen as select * from t');
  });
  after(() => db.drop());
  beforeEach(async () => {
    await db.query('truncate t');
    await db.query(
      `insert into t values (1, 'one', '{"x":1}', 1.0), (2, 'two', null, null), (3, 'three', null, null)`,
    );
  });

  /** `version` replaces the version of the server, so that the merge uses the statement of that version. */
  async function write(target: WriteTarget, columns: readonly string[], text: string, version?: number) {
    return inTransaction(db, async (taskConnection) => {
      if (version === undefined)
        return {
          ...(await writeTable(taskConnection, target, columns, sendText(taskConnection, text))),
          counted: taskConnection.rows.written,
        };
      const table = await describeTable(taskConnection, target.into);
      if (table === undefined) throw new Error('no table');
      const described = { ...target, columns, table: { ...table, serverVersion: version } };
      return {
        ...(await writeDescribed(taskConnection, described, sendText(taskConnection, text))),
        counted: taskConnection.rows.written,
      };
    });
  }
  const refused = async (...args: Parameters<typeof write>): Promise<EtlError> => {
    const error: unknown = await write(...args).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).to.be.instanceOf(EtlError);
    return error as EtlError;
  };
  const rows = () => db.query('select id, a from t order by id');

  it('appends rows', async () => {
    const written = await write({ into: 't', mode: 'append' }, ['a', 'id'], 'four\t4\n');
    expect(written).to.deep.equal({ rows: 1, inserted: 1, updated: 0, deleted: 0, counted: 1 });
    expect(await rows()).to.have.lengthOf(4);
  });

  it('replaces the rows of a table, without changing its views and its OID', async () => {
    const [before] = await db.query(`select 't'::regclass::oid`);
    const written = await write({ into: 't', mode: 'replace' }, ['id'], '9\n');
    expect(written).to.deep.equal({ rows: 1, inserted: 1, updated: 0, deleted: 0, counted: 1 });
    expect(await db.query('select id, a from seen')).to.deep.equal([{ id: 9, a: null }]);
    expect(await db.query(`select 't'::regclass::oid`)).to.deep.equal([before]);
  });

  it('counts only the new rows when DELETE empties the table', async () => {
    await db.query('create table child (id int references t)');
    const written = await write({ into: 't', mode: 'replace' }, ['id'], '9\n');
    await db.query('drop table child');
    expect(written.counted).to.equal(1);
    expect(await rows()).to.deep.equal([{ id: 9, a: null }]);
  });

  for (const action of ['cascade', 'set null', 'set default']) {
    it(`refuses to replace rows that a foreign key with ON DELETE ${action.toUpperCase()} refers to`, async () => {
      await db.query(`create table child (id int references t on delete ${action})`);
      await db.query('insert into child select id from t');
      const before = await rows();
      const failed = await write({ into: 't', mode: 'replace' }, ['id'], '9\n').then(
        () => undefined,
        (error: unknown) => error,
      );
      const children = await db.query('select id from child order by id');
      await db.query('drop table child');
      expect(failed).to.include({ code: 'ETL-3512' });
      expect(await rows()).to.deep.equal(before);
      expect(children).to.deep.equal(before.map(({ id }) => ({ id })));
    });
  }

  it('empties the table by DELETE if the role may not TRUNCATE', async () => {
    const role = `${db.name}_role`;
    await db.query(`create role ${role}`);
    await db.query(`grant select, insert, delete on t to ${role}`);
    try {
      await inTransaction(db, async (taskConnection) => {
        await taskConnection.query({ text: `set local role ${role}` });
        await writeTable(
          taskConnection,
          { into: 't', mode: 'replace' },
          ['id'],
          sendText(taskConnection, '9\n'),
        );
      });
      expect(await rows()).to.deep.equal([{ id: 9, a: null }]);
    } finally {
      await db.query(`drop owned by ${role}`);
      await db.query(`drop role ${role}`);
    }
  });

  const versions: readonly (readonly [way: string, version: number | undefined])[] = [
    ['MERGE', undefined],
    ['INSERT … ON CONFLICT', 150_000],
  ];
  for (const [way, version] of versions) {
    describe(`that merges by ${way}`, () => {
      const merge = { into: 't', mode: 'merge', key: ['id'] } as const;

      it('updates the rows that differ, inserts the new rows, and does not touch the others', async () => {
        const [before] = await db.query('select xmin::text from t where id = 1');
        const written = await write(merge, ['id', 'a'], '1\tone\n2\tTWO\n4\tfour\n', version);
        expect(written).to.deep.equal({ rows: 3, inserted: 1, updated: 1, deleted: 0, counted: 2 });
        expect(await rows()).to.deep.equal([
          { id: 1, a: 'one' },
          { id: 2, a: 'TWO' },
          { id: 3, a: 'three' },
          { id: 4, a: 'four' },
        ]);
        expect(await db.query('select xmin::text from t where id = 1')).to.deep.equal([before]);
      });

      it('deletes the rows whose key is not in the data with `deleteMissing`', async () => {
        const written = await write(
          { ...merge, deleteMissing: true },
          ['id', 'a'],
          '2\ttwo\n4\tfour\n',
          version,
        );
        expect(written).to.deep.equal({ rows: 2, inserted: 1, updated: 0, deleted: 2, counted: 3 });
        expect(await rows()).to.deep.equal([
          { id: 2, a: 'two' },
          { id: 4, a: 'four' },
        ]);
      });

      it('sees a change of a json value and of the scale of a number', async () => {
        const written = await write(
          merge,
          ['id', 'j', 'n'],
          '1\t{"x":1}\t1.00\n2\t{"y":2}\t\\N\n3\t\\N\t\\N\n',
          version,
        );
        expect(written).to.include({ inserted: 0, updated: 2 });
        expect(await db.query('select j::text, n::text from t where id < 3 order by id')).to.deep.equal([
          { j: '{"x":1}', n: '1.00' },
          { j: '{"y":2}', n: null },
        ]);
      });

      it('inserts new rows if the table has only key columns', async () => {
        await db.query('create table k (one int, two text, unique (two, one))');
        const written = await write(
          { into: 'k', mode: 'merge', key: ['one', 'two'] },
          ['two', 'one'],
          'x\t1\ny\t1\n',
          version,
        );
        const again = await write(
          { into: 'k', mode: 'merge', key: ['one', 'two'] },
          ['two', 'one'],
          'x\t1\nz\t1\n',
          version,
        );
        await db.query('drop table k');
        expect(written).to.include({ inserted: 2, updated: 0 });
        expect(again).to.include({ inserted: 1, updated: 0 });
      });

      it('accepts a key that is generated always as identity', async () => {
        await db.query('create table i (id int generated always as identity primary key, a text)');
        await write({ into: 'i', mode: 'merge', key: ['id'] }, ['id', 'a'], '7\tx\n', version);
        await write({ into: 'i', mode: 'merge', key: ['id'] }, ['id', 'a'], '7\ty\n', version);
        expect(await db.query('select * from i')).to.deep.equal([{ id: 7, a: 'y' }]);
        await db.query('drop table i');
      });

      it('accepts a partitioned table with names that need quotes', async () => {
        await db.query(`create schema "S.1"`);
        await db.query(
          `create table "S.1"."Täble ""x""" ("Id" int primary key, "sel ect" text) partition by range ("Id")`,
        );
        await db.query(`create table "S.1".low partition of "S.1"."Täble ""x""" for values from (0) to (10)`);
        await db.query(
          `create table "S.1".high partition of "S.1"."Täble ""x""" for values from (10) to (20)`,
        );
        const into = '"S.1"."Täble ""x"""';
        for (const text of ['1\ta\n', '1\tb\n15\tc\n'])
          await write({ into, mode: 'merge', key: ['Id'] }, ['Id', 'sel ect'], text, version);
        const all = await db.query(`select * from ${into} order by 1`);
        await db.query('drop schema "S.1" cascade');
        expect(all).to.deep.equal([
          { Id: 1, 'sel ect': 'b' },
          { Id: 15, 'sel ect': 'c' },
        ]);
      });

      it('throws the error of another unique index that a row violates', async () => {
        await db.query('create unique index other on t (a)');
        const error: unknown = await write(merge, ['id', 'a'], '9\tone\n', version).catch(
          (thrown: unknown) => thrown,
        );
        await db.query('drop index other');
        expect(error).to.include({ code: '23505', constraint: 'other' });
      });
    });
  }

  it('fails with 40001, which is retried, if another session inserts the same key during a merge', async () => {
    const writing = inTransaction(db, (taskConnection) =>
      writeTable(taskConnection, { into: 't', mode: 'merge', key: ['id'] }, ['id', 'a'], async (...to) => {
        const sent = await sendText(taskConnection, '7\tmine\n')(...to);
        await db.query(`insert into t values (7, 'theirs')`);
        return sent;
      }),
    );
    const error: unknown = await writing.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).to.include({ code: '40001' });
    expect(await db.query('select a from t where id = 7')).to.deep.equal([{ a: 'theirs' }]);
  });

  const wrong: readonly [
    title: string,
    target: WriteTarget,
    columns: string[],
    text: string,
    code: string,
    what: RegExp,
    rowData?: string,
  ][] = [
    [
      'a table that does not exist',
      { into: 'nowhere', mode: 'append' },
      ['id'],
      '',
      'ETL-3511',
      /no table nowhere/,
    ],
    ['a view', { into: 'seen', mode: 'append' }, ['id'], '', 'ETL-3512', /seen is a view/],
    [
      'a column that does not exist',
      { into: 't', mode: 'append' },
      ['id', 'aa'],
      '',
      'ETL-3513',
      /"aa"; did you mean "a"/,
    ],
    [
      'data without a column that is not null and has no default',
      { into: 't', mode: 'append' },
      ['a'],
      '',
      'ETL-3514',
      /no column "id"/,
    ],
    [
      'data for a generated column',
      { into: 'g', mode: 'append' },
      ['id', 'twice'],
      '',
      'ETL-3513',
      /"twice".*computes itself/,
    ],
    ['a merge without a key', { into: 't', mode: 'merge' }, ['id'], '', 'ETL-3515', /needs a `key`/],
    [
      'a key that is not in the data',
      { into: 't', mode: 'merge', key: ['id'] },
      ['a'],
      '',
      'ETL-3514',
      /"id"/,
    ],
    [
      'a key that is not in the data and may be null',
      { into: 'g', mode: 'merge', key: ['id'] },
      ['a'],
      '',
      'ETL-3515',
      /"id"/,
    ],
    [
      'a key without a unique index',
      { into: 't', mode: 'merge', key: ['a'] },
      ['id', 'a'],
      '',
      'ETL-3516',
      /can't be merged by "a"/,
    ],
    [
      'a key with only a partial index',
      { into: 'g', mode: 'merge', key: ['a'] },
      ['a'],
      '',
      'ETL-3516',
      /can't be merged by "a"/,
    ],
    [
      'a key with only a deferrable index',
      { into: 'g', mode: 'merge', key: ['b'] },
      ['b'],
      '',
      'ETL-3516',
      /can't be merged by "b"/,
    ],
    [
      'the same key twice',
      { into: 't', mode: 'merge', key: ['id'] },
      ['id', 'a'],
      '8\tx\n9\tx\n8\ty\n',
      'ETL-3517',
      /a key "id" occurs twice/,
      'id = 8',
    ],
    [
      'the same key twice, if one of the rows would change nothing',
      { into: 't', mode: 'merge', key: ['id'] },
      ['id', 'a'],
      '1\tone\n1\tother\n',
      'ETL-3517',
      /a key "id" occurs twice/,
      'id = 1',
    ],
    [
      'a null in the key',
      { into: 'g', mode: 'merge', key: ['id'] },
      ['id', 'a'],
      '1\tx\n\\N\tx\n',
      'ETL-3517',
      /the key "id" of a row is null/,
      'id = null',
    ],
    [
      'a change of a column that is generated always as identity',
      { into: 'g', mode: 'merge', key: ['id'] },
      ['id', 'always'],
      '',
      'ETL-3516',
      /can't change "always"/,
    ],
  ];
  describe('refuses', () => {
    before(async () => {
      await db.query(
        `create table g (id int unique, a text, b int unique deferrable, twice int generated always as (id * 2) stored,
           always int generated always as identity)`,
      );
      await db.query('create unique index partial on g (a) where id > 0');
    });
    for (const [title, target, columns, text, code, what, rowData] of wrong) {
      it(title, async () => {
        const error = await refused(target, columns, text);
        expect(error.code).to.equal(code);
        expect(error.message).to.match(what);
        expect(error.rowData).to.equal(rowData);
        expect(await rows()).to.have.lengthOf(3);
      });
    }
  });
});
