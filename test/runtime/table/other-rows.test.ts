import { expect } from 'chai';
import { EtlError } from '../../../src/errors.js';
import type { WriteTarget } from '../../../src/runtime/table/write-target.js';
import { type TestDatabase, createDatabase } from '../../support/database.js';
import { inTransaction, sendText, writeTable } from './on-wire.js';

/** Each way to write that deletes rows. The data is one row with the ID 9. */
const WAYS: readonly [title: string, target: Pick<WriteTarget, 'mode' | 'key' | 'deleteMissing'>][] = [
  ['replace', { mode: 'replace' }],
  ['merge with deleteMissing', { mode: 'merge', key: ['id'], deleteMissing: true }],
];

describe('a write that deletes rows', () => {
  let db: TestDatabase;
  before(async () => (db = await createDatabase()));
  after(() => db.drop());
  beforeEach(() => db.query('drop schema public cascade; create schema public'));

  const write = (target: WriteTarget, text = '9\tnew\n') =>
    inTransaction(db, (taskConnection) =>
      writeTable(taskConnection, target, ['id', 'a'], sendText(taskConnection, text)),
    );
  const catchError = (target: WriteTarget): Promise<unknown> =>
    write(target).then(
      () => undefined,
      (error: unknown) => error,
    );
  const rows = (table: string) => db.query(`select id, a from ${table} order by id`);

  for (const [way, target] of WAYS) {
    it(`keeps the rows of the tables that inherit from the table: ${way}`, async () => {
      await db.query(`create table t (id int primary key, a text); insert into t values (1, 'old');
        create table child () inherits (t); insert into child values (2, 'child'), (9, 'child');
        create table grandchild () inherits (child); insert into grandchild values (3, 'grandchild')`);
      await write({ into: 't', ...target });
      expect(await rows('only t')).to.deep.equal([{ id: 9, a: 'new' }]);
      expect(await rows('child')).to.deep.equal([
        { id: 2, a: 'child' },
        { id: 3, a: 'grandchild' },
        { id: 9, a: 'child' },
      ]);
    });

    it(`keeps them also if a foreign key refers to the table: ${way}`, async () => {
      await db.query(`create table t (id int primary key, a text); insert into t values (1, 'old');
        create table child () inherits (t); insert into child values (2, 'child');
        create table other (t int references t)`);
      await write({ into: 't', ...target });
      expect(await rows('only t')).to.deep.equal([{ id: 9, a: 'new' }]);
      expect(await rows('child')).to.deep.equal([{ id: 2, a: 'child' }]);
    });

    it(`does not care about a foreign key with ON DELETE CASCADE to a table that inherits: ${way}`, async () => {
      await db.query(`create table t (id int primary key, a text); insert into t values (1, 'old');
        create table child (primary key (id)) inherits (t); insert into child values (2, 'child');
        create table other (child int references child on delete cascade); insert into other values (2)`);
      await write({ into: 't', ...target });
      expect(await rows('t')).to.deep.equal([
        { id: 2, a: 'child' },
        { id: 9, a: 'new' },
      ]);
      expect(await db.query('select * from other')).to.deep.equal([{ child: 2 }]);
    });

    it(`deletes the rows of all partitions: ${way}`, async () => {
      await db.query(`create table t (id int primary key, a text) partition by range (id);
        create table t1 partition of t for values from (0) to (5);
        create table t2 partition of t for values from (5) to (99) partition by range (id);
        create table t3 partition of t2 for values from (5) to (99);
        insert into t values (1, 'old'), (7, 'old')`);
      await write({ into: 't', ...target });
      expect(await rows('t')).to.deep.equal([{ id: 9, a: 'new' }]);
    });

    it(`writes to one partition only if the partition is named: ${way}`, async () => {
      await db.query(`create table t (id int primary key, a text) partition by range (id);
        create table t1 partition of t for values from (0) to (5);
        create table t2 partition of t for values from (5) to (99); insert into t values (1, 'old'), (7, 'old')`);
      await write({ into: 't2', ...target });
      expect(await rows('t')).to.deep.equal([
        { id: 1, a: 'old' },
        { id: 9, a: 'new' },
      ]);
    });

    for (const rule of ['instead nothing', 'also delete from other', 'instead delete from other']) {
      const isTruncate = target.mode === 'replace';
      it(`${isTruncate ? 'ignores' : 'is refused because of'} a rule ON DELETE DO ${rule.toUpperCase()}: ${way}`, async () => {
        await db.query(`create table t (id int primary key, a text); insert into t values (1, 'old');
          create table other (id int); insert into other values (1);
          create rule r as on delete to t do ${rule}`);
        const error = await catchError({ into: 't', ...target });
        if (isTruncate) expect(await rows('t')).to.deep.equal([{ id: 9, a: 'new' }]);
        else expect(error).to.be.instanceOf(EtlError).that.includes({ code: 'ETL-3512' });
        expect(await db.query('select * from other')).to.deep.equal([{ id: 1 }]);
      });

      it(`is refused because of such a rule if a foreign key refers to the table: ${way}, ${rule}`, async () => {
        await db.query(`create table t (id int primary key, a text); insert into t values (1, 'old');
          create table ref (t int references t); create table other (id int); insert into other values (1);
          create rule r as on delete to t do ${rule}`);
        expect(await catchError({ into: 't', ...target }))
          .to.be.instanceOf(EtlError)
          .that.includes({ code: 'ETL-3512' });
        expect(await rows('t')).to.deep.equal([{ id: 1, a: 'old' }]);
        expect(await db.query('select * from other')).to.deep.equal([{ id: 1 }]);
      });
    }

    it(`refuses a view with rules or triggers that write to a table: ${way}`, async () => {
      await db.query(`create table t (id int primary key, a text); insert into t values (1, 'old');
        create view v as select * from t; create rule r as on delete to v do instead delete from t`);
      expect(await catchError({ into: 'v', ...target })).to.include({ code: 'ETL-3512' });
      expect(await rows('t')).to.deep.equal([{ id: 1, a: 'old' }]);
    });
  }

  it('fails if a trigger keeps the rows that a replace deletes with DELETE', async () => {
    await db.query(`create table t (id int primary key, a text); insert into t values (1, 'old'), (2, 'old');
      create table ref (t int references t);
      create function keep() returns trigger language plpgsql as $$ begin
        if old.id = 1 then return null; end if; return old; end $$;
      create trigger keep before delete on t for each row execute function keep()`);
    const error = await catchError({ into: 't', mode: 'replace' });
    expect(error).to.be.instanceOf(EtlError).that.includes({ code: 'ETL-3512' });
    expect((error as EtlError).why).to.match(/trigger BEFORE DELETE/);
    expect(await rows('t')).to.have.length(2);
  });
});
