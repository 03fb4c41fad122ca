import { expect } from 'chai';
import { canFit, listWiderTypes, mustFit } from '../../../../src/runtime/tasks/load/type-family.js';
import { openWorkbench, type Loaded, type Workbench } from './workbench.js';

describe('a load with `evolve`', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());

  const readType = async (): Promise<unknown> => {
    const [row] = await bench.db.query(
      `select format_type(atttypid, atttypmod) as type from pg_attribute
       where attrelid = 't'::regclass and attname = 'v'`,
    );
    return row?.['type'];
  };
  const logs = ({ events }: Loaded) =>
    events.flatMap((event) => (event.type === 'task_log' ? [event.message] : []));
  const toCsv = (value: string): string => `"${value.replaceAll('"', '""')}"`;
  /** Says of each value whether the server accepts it in a column of the type. */
  const accepts = async (type: string, texts: readonly string[]): Promise<readonly boolean[]> => {
    await bench.db.query(
      `drop table if exists probe; create table probe (v ${type});
       create or replace function accepts(text) returns boolean language plpgsql as
         $$ begin execute format('insert into probe values (%L)', $1); return true; exception when others then return false; end $$`,
    );
    const rows = await bench.db.query<{ fits: boolean }>(
      `select accepts(v) as fits from unnest($1::text[]) with ordinality as given (v, n) order by n`,
      [texts],
    );
    return rows.map(({ fits }) => fits);
  };

  const values = [
    '1', '0', '-7', '70000', '3000000000', '12345678901234567890', '1.5', '1e3', '1E5', '007', '+1', 'NaN', 'Infinity',
    'true', 't', 'yes', '2026-01-31', '20260131', '1/2/2026', 'today', '2026-01-31 10:00:00', '2026-01-31T10:00:00Z', '10:00',
    '10:00:00+02', '1 day', '\\x00ff', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a":1}', '[1]', '"x"', '{1,2}', '{a}', '[1,5)',
    '(1,2)', '10.0.0.0/8', '101', '<a/>', 'a', 'abcdef', '',
  ]; // prettier-ignore
  const types = [
    'smallint', 'integer', 'bigint', 'numeric', 'numeric(4,1)', 'real', 'double precision', 'boolean', 'text',
    'character varying(5)', 'character(5)', 'date', 'time without time zone', 'time with time zone',
    'timestamp without time zone', 'timestamp(0) without time zone', 'timestamp with time zone', 'interval', 'uuid', 'bytea',
    'json', 'jsonb', 'integer[]', 'text[]', 'int4range', 'point', 'inet', 'bit(3)', 'money', 'xml',
  ]; // prettier-ignore
  for (const type of types) {
    it(`changes a column of type ${type} exactly if the server refuses the value`, async () => {
      // One column for each value, and one row.
      const names = values.map((_, i) => `c${i}`);
      await bench.db.query(
        `drop table if exists t; create table t (${names.map((name) => `${name} ${type}`).join(', ')})`,
      );
      await bench.write({ 'in.csv': `${names.join(',')}\n${values.map(toCsv).join(',')}\n` });
      const done = await bench.load({ schema: 'evolve' });
      expect(done.task?.error).to.equal(undefined);
      const statement = logs(done).join();
      const stays = names.map((name) => !statement.includes(`alter column "${name}"`));
      const label = (fits: readonly boolean[]) => values.map((value, i) => `${value} fits: ${fits[i]}`);
      expect(label(stays)).to.deep.equal(label(await accepts(type, values)));
    });
  }

  const changed: readonly [type: string, value: string, expected: string][] = [
    ['smallint', '70000', 'integer'],
    ['integer', '3000000000', 'bigint'],
    ['integer', '12345678901234567890', 'numeric'],
    ['bigint', '1.5', 'numeric'],
    ['numeric(4,1)', '12345', 'numeric'],
    ['real', '1e300', 'double precision'],
    ['character varying(5)', 'abcdef', 'text'],
    ['bit(3)', '10101', 'bit varying'],
    ['boolean', '2', 'text'],
    ['jsonb', '{"a":"\\u0000"}', 'json'],
    ['integer[]', '{3000000000}', 'bigint[]'],
  ];
  for (const [type, value, expected] of changed) {
    for (const file of ['in.csv', 'in.ndjson']) {
      const isNumber = /^-?\d+(?:\.\d+)?$/.test(value) && !type.startsWith('bit');
      // JSON has its own form of arrays and objects.
      if (file === 'in.ndjson' && /^[{[]/.test(value)) continue;
      it(`changes ${type} to ${expected} for ${value} in ${file}`, async () => {
        await bench.db.query(`drop table if exists t; create table t (v ${type})`);
        const text =
          file === 'in.csv' ? `v\n${toCsv(value)}\n` : `{"v":${isNumber ? value : JSON.stringify(value)}}\n`;
        await bench.write({ [file]: text });
        const done = await bench.load({ from: file, schema: 'evolve' });
        expect(done.task?.error).to.equal(undefined);
        expect(logs(done)).to.deep.equal([`alter table "t" alter column "v" type ${expected}`]);
      });
    }
  }

  it('keeps a type of the user, and lets COPY name the row that it refuses', async () => {
    await bench.db.query(
      `drop table if exists t; drop domain if exists small; create domain small as int check (value < 10); create table t (v small)`,
    );
    await bench.write({ 'in.csv': 'v\n5\n11\n' });
    expect((await bench.load({ schema: 'evolve' })).task?.error?.message).to.include('small');
    expect(await readType()).to.equal('small');
  });

  it('leaves a table unchanged for the file that an unload of the table has written', async () => {
    await bench.db.query(
      `drop table if exists t; create table t (id bigint, ok boolean, v time, raw bytea, j jsonb, tags text[], price numeric(10,2));
       insert into t values (1, true, '10:00', '\\x00ff', '{"a":1.50}', '{a,NULL}', 1.50), (2, null, null, null, '"x"', '{}', null)`,
    );
    const [copied] = await bench.db.query<{ text: string }>(
      `select string_agg(row_to_json(t)::text, E'\\n') as text from t`,
    );
    await bench.write({ 'in.ndjson': `${copied?.text}\n` });
    const done = await bench.load({ from: 'in.ndjson', schema: 'evolve', mode: 'replace' });
    expect(done.task?.error).to.equal(undefined);
    expect(logs(done)).to.deep.equal([]);
  });

  it('writes JSON for the type that a column has after the change', async () => {
    await bench.db.query('drop table if exists t; create table t (v integer)');
    await bench.write({ 'in.ndjson': '{"v":{"a":1.50}}\n{"v":"x"}\n{"v":[1, "b"]}\n' });
    const { task } = await bench.load({ from: 'in.ndjson', schema: 'evolve' });
    expect(task?.error).to.equal(undefined);
    expect(await bench.db.query('select v from t')).to.deep.equal([
      { v: '{"a":1.50}' },
      { v: 'x' },
      { v: '[1, "b"]' },
    ]);
  });

  /** Values of each type that data can have. */
  const samples: Readonly<Record<string, readonly string[]>> = {
    boolean: ['true', 'false'],
    bigint: ['0', '1', '-5', '20260131', '9223372036854775807'],
    numeric: ['1.5', '-0.1', '20260131.0'],
    date: ['2026-01-31', '0001-01-01'],
    'timestamp without time zone': ['2026-01-31 10:00:00', '2026-01-31T10:00'],
    'timestamp with time zone': ['2026-01-31 10:00:00+02', '2026-01-31T10:00:00Z'],
    uuid: ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000000'],
    jsonb: ['{}', '{"a":1}', '[]', '[1]'],
    bytea: ['\\x', '\\x00ff'],
  };
  for (const [from, texts] of Object.entries(samples)) {
    it(`knows of ${from} only what the server says: which types accept no value, and which accept each value`, async () => {
      for (const type of types) {
        const fits = await accepts(type, texts);
        if (!canFit(from, type)) expect(fits, `impossible: ${type}`).to.not.include(true);
        if (mustFit(from, type)) expect(fits, `certain: ${type}`).to.not.include(false);
      }
    });
  }

  it('only knows wider types to which PostgreSQL can change a column', async () => {
    for (const type of types) {
      for (const wider of listWiderTypes(type)) {
        await bench.db.query(
          `drop table if exists t; create table t (v ${type}); alter table t alter v type ${wider}`,
        );
      }
    }
  });
});
