import { expect } from 'chai';
import { openWorkbench, type Workbench } from './workbench.js';

/** An expression that fails with XX000, as a C function of an extension does: there is no such configuration. */
const fail = (value: string): string => `to_tsvector(999999::oid::regconfig, ${value})`;

const trigger = (body: string, when = 'before insert on t for each row'): string =>
  `create function check_row() returns trigger language plpgsql as $$ declare v text; begin ${body}; return new; end $$;
   create trigger check_row ${when} execute function check_row();`;
const ifBad = (statement: string): string => `if new.v = 'bad' then ${statement}; end if`;

describe('a load with `rejects`', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(async () => {
    await bench.db.query(`drop table if exists t, bad, pair cascade;
      drop function if exists check_row cascade; drop function if exists check_value cascade;
      drop domain if exists d cascade;`);
    await bench.db.query('create table t (id int, v text); create table pair (v text, w int)');
  });

  /** Loads three rows, of which the second has the value `bad`, and returns the IDs of the stored rows. */
  async function load(sql: string, bad = 'bad') {
    await bench.db.query(sql);
    await bench.write({ 'in.csv': `id,v\n1,${bad === 'bad' ? 'good' : ''}\n2,${bad}\n3,\n` });
    const { task } = await bench.load({ rejects: { max: 5, to: 'bad' } });
    const rows = await bench.db.query<{ id: number }>('select id from t order by id');
    return { task, ids: rows.map(({ id }) => id) };
  }

  const ofTheRow: readonly [title: string, sql: string, reason: RegExp, bad?: string][] = [
    ['the input function of a type raises 22023', 'alter table t alter v type timestamptz using null', /22023/, '2026-01-01 10:00 Nowhere/Land'],
    ['the input function of a type raises 42P01', 'alter table t alter v type regclass using null', /42P01/, 'nothing'],
    ['the input function of a type raises 42704', 'alter table t alter v type regtype using null', /42704/, 'nothing'],
    ['the input function of a type raises 42883', 'alter table t alter v type regproc using null', /42883/, 'nothing'],
    ['the input function of a type raises 3F000', 'alter table t alter v type regnamespace using null', /3F000/, 'nothing'],
    ['the input function of a type raises 54001', 'alter table t alter v type jsonb using null', /54001/, '['.repeat(100_000)],
    ['a domain raises XX000', `create domain d as text check (value <> 'bad' or ${fail('value')} is null); alter table t alter v type d`, /XX000/],
    ['a function of a domain raises XX000', `create function check_value(v text) returns bool language plpgsql as $$ begin if v = 'bad' then perform ${fail('v')}; end if; return true; end $$; create domain d as text check (check_value(value)); alter table t alter v type d`, /XX000/],
    ['a function of a domain raises an SQLSTATE of its own', `create function check_value(v text) returns bool language plpgsql as $$ begin if v = 'bad' then raise 'no' using errcode = 'AB123'; end if; return true; end $$; create domain d as text check (check_value(value)); alter table t alter v type d`, /AB123/],
    ['a trigger of the row raises P0001', trigger(ifBad(`raise 'no'`)), /P0001/],
    ['a trigger of the row raises an SQLSTATE of its own', trigger(ifBad(`raise 'no' using errcode = 'AB123'`)), /AB123/],
    ['a trigger of the row raises XX000', trigger(ifBad(`raise 'no' using errcode = 'XX000'`)), /XX000/],
    ['a trigger of the row finds no row', trigger(ifBad(`select p.v into strict v from pair p`)), /P0002/],
    ['a trigger of the row finds no case', trigger(`case new.v when 'good' then v := 1; when null then v := 2; else if new.v = 'bad' then case new.v when 'x' then v := 1; end case; end if; end case`), /20000/],
    ['a trigger after the row raises P0001', trigger(ifBad(`raise 'no'`), 'after insert on t for each row'), /P0001/],
    ['a trigger after the row divides by zero', trigger(ifBad(`v := 1 / 0`), 'after insert on t for each row'), /22012/],
    ['a generated column divides by zero', `alter table t add w int generated always as (1 / (id - 2)) stored`, /22012/],
    ['a row of an index is too long', `create index on t (v)`, /54000/, Array.from({ length: 9000 }, (_, i) => i.toString(36)).join('')],
    ['an exclusion constraint is broken', `alter table t add exclude using btree (v with =); insert into t values (0, 'bad')`, /23P01/],
    ['no partition holds the row', `drop table t; create table t (id int, v text) partition by list (v); create table t1 partition of t for values in ('good', null)`, /23514/],
  ]; // prettier-ignore
  for (const [title, sql, reason, bad] of ofTheRow) {
    it(`puts aside a row because ${title}`, async () => {
      const { task, ids } = await load(sql, bad);
      expect(task?.error).to.equal(undefined);
      expect(ids.filter((id) => id > 0)).to.deep.equal([1, 3]);
      const found = await bench.db.query<{ line: string; reason: string }>('select line, reason from bad');
      expect(found).to.have.length(1);
      expect(found[0]?.line).to.equal('3');
      expect(found[0]?.reason).to.match(reason);
    });
  }

  const notOfTheRow: readonly [title: string, sql: string, state: RegExp][] = [
    ['a trigger before the statement raises P0001', trigger(`raise 'closed'`, 'before insert on t'), /P0001/],
    ['a trigger after the statement raises P0001', trigger(`raise 'closed'`, 'after insert on t'), /P0001/],
    ['a trigger before the statement raises 22023', trigger(`raise 'closed' using errcode = '22023'`, 'before insert on t'), /22023/],
    ['a function of a trigger lacks a table', trigger(ifBad('insert into missing values (1)')), /42P01/],
    ['a function of a trigger lacks a function', trigger(ifBad('perform missing()')), /42883/],
    ['a function of a domain lacks a table', `create function check_value(v text) returns bool language plpgsql as $$ begin perform from missing; return true; end $$; create domain d as text check (value <> 'bad' or check_value(value)); alter table t alter v type d`, /42P01/],
    ['a check constraint fails with XX000', `alter table t add check (v <> 'bad' or ${fail('v')} is null)`, /XX000/],
    ['a trigger fails with XX000', trigger(ifBad(`perform ${fail('new.v')}`)), /XX000/],
    ['a lock is not available', trigger(ifBad(`raise 'no' using errcode = '55P03'`)), /55P03/],
    ['the disk is full', trigger(ifBad(`raise 'no' using errcode = '53100'`)), /53100/],
    ['an operator cancels the statement', trigger(ifBad(`raise 'no' using errcode = '57014'`)), /57014/],
  ]; // prettier-ignore
  for (const [title, sql, state] of notOfTheRow) {
    it(`fails and puts no row aside because ${title}`, async () => {
      const { task, ids } = await load(sql);
      expect(task?.error?.why).to.match(state);
      expect(ids).to.deep.equal([]);
      expect(await bench.db.query(`select to_regclass('bad') as bad`)).to.deep.equal([{ bad: null }]);
    });
  }

  it('recognises a value that can not be read in every language of the server', async () => {
    const { isRowError } = await import('../../../../src/runtime/tasks/load/row-error.js');
    const base = { name: 'error', message: 'x', code: 'XX000', severity: 'ERROR' } as const;
    // The words are those of PostgreSQL's translations, src/backend/po.
    for (const where of [
      'COPY t, line 2, column v: "x"',
      'COPY t, Zeile 2, Spalte v: »x«',
      'COPY t, ligne 2, colonne v : « x »',
      'COPY t, línea 2, columna v: «x»',
      'COPY t, 行 2, 列 v: "x"',
      'COPY t, строка 2, столбец v: "x"',
    ])
      expect(isRowError({ ...base, where }), where).to.equal(true);
    for (const where of [
      'COPY t, line 2: "1,x, y"',
      'COPY t, Zeile 2: »1,x, 3, y«',
      'COPY t, ligne 2 : « x, 4, y »',
    ])
      expect(isRowError({ ...base, where }), where).to.equal(false);
  });
});
