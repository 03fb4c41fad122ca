import { expect } from 'chai';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { openWorkbench, type Workbench } from './workbench.js';

describe('values of JSON in a load', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());

  /** The ways by which a load passes the values of NDJSON to the server. */
  const paths: readonly [title: string, source: Partial<LoadSource>][] = [
    ['as it is', {}],
    ['with a transform', { transform: (row) => row }],
    ['with a transform that copies', { transform: (row) => ({ ...row }) }],
    ['with `rejects`', { rejects: { max: 0, to: 'bad' } }],
    ['with `evolve`', { schema: 'evolve' }],
    ['with `discard`', { schema: 'discard' }],
  ];

  const json = [
    'true', 'false', '0', '1.50', '-0', '1e400', '12345678901234567890', '"x"', '""', '"2026-01-31"', '"2026-01-31T10:00:00Z"',
    '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"', '"null"', '"{\\"a\\":1}"', '{}', '[]', '{"a": 1.50, "b": [null, 1e2]}',
    '[{"x":1},{"y":"q"}]', '{"constructor":1,"__proto__":{"a":2.0},"toJSON":3}',
  ]; // prettier-ignore
  for (const [title, source] of paths) {
    for (const type of ['json', 'jsonb']) {
      it(`fit ${type}, each alone in its file, ${title}`, async () => {
        await bench.db.query(`drop table if exists t; create table t (n serial, v ${type})`);
        for (const value of json) {
          await bench.write({ 'in.ndjson': `{"v":${value}}\n` });
          const { task } = await bench.load({ from: 'in.ndjson', ...source });
          expect(task?.error, value).to.equal(undefined);
        }
        const rows = await bench.db.query(
          `select t.v::jsonb::text = given.v::jsonb::text as same, given.v from t
           join unnest($1::text[]) with ordinality as given (v, n) using (n) order by n`,
          [json],
        );
        expect(rows).to.deep.equal(json.map((v) => ({ same: true, v })));
      });
    }

    it(`are JSON in a text column, and PostgreSQL arrays in an array column, ${title}`, async () => {
      await bench.db.query(
        `drop table if exists t; drop domain if exists list;
         create domain list as int[]; create table t (a text, o varchar, n numeric[], l list, j jsonb[])`,
      );
      await bench.write({
        'in.ndjson':
          '{"a":[{"x":1},{"y":"q"}],"o":{"b":[1,2]},"n":[1.50,null],"l":[[1,2],[3,4]],"j":["x",{"a":1.50}]}\n' +
          '{"a":"[1]","o":true,"n":[],"l":null,"j":[null,true]}\n',
      });
      const { task } = await bench.load({ from: 'in.ndjson', ...source });
      expect(task?.error).to.equal(undefined);
      expect(await bench.db.query('select a, o, n::text, l::text, j::text from t')).to.deep.equal([
        { a: '[{"x":1},{"y":"q"}]', o: '{"b":[1,2]}', n: '{1.50,NULL}', l: '{{1,2},{3,4}}', j: '{"\\"x\\"","{\\"a\\": 1.50}"}' },
        { a: '[1]', o: 'true', n: '{}', l: null, j: '{NULL,true}' },
      ]); // prettier-ignore
    });

    it(`keep the text of numbers, ${title}`, async () => {
      await bench.db.query(
        `drop table if exists t; create table t (id int, n numeric, x text, j jsonb, f float8, w bigint)`,
      );
      const numbers = ['1.50', '1e400', '12345678901234567890', '0.00', '-0.10', '100', '0.0000001', '1.0'];
      await bench.write({
        'in.ndjson': numbers
          .map((n, i) => `{"id":${i},"n":${n},"x":${n},"j":{"n":${n}},"f":1.50,"w":7.0}\n`)
          .join(''),
      });
      const { task } = await bench.load({ from: 'in.ndjson', ...source });
      expect(task?.error).to.equal(undefined);
      const rows = await bench.db.query(
        `select t.x, n::text = given.v::numeric::text and j = json_build_object('n', given.v::numeric)::jsonb
           and j::text = ('{"n": ' || given.v || '}')::jsonb::text and f = 1.5 and w = 7 as same
         from t join unnest($1::text[]) with ordinality as given (v, i) on id + 1 = i order by id`,
        [numbers],
      );
      expect(rows).to.deep.equal(numbers.map((x) => ({ x, same: true })));
    });

    it(`of an unload merge into the unchanged table without a rewritten row, ${title}`, async () => {
      await bench.db.query(
        `drop table if exists t; create table t (
           id int primary key, n numeric, m numeric(10,2), f float8, r real, b bigint, ok boolean, x text, c char(3), d date,
           ts timestamp, tz timestamptz, ti time, iv interval, u uuid, raw bytea, j jsonb, k json, tags text[], grid int[], p numeric[]);
         insert into t values
           (1, 1.50, 2.00, 1.5, 0.1, 9223372036854775807, true, '007', 'a', '2026-01-31', '2026-01-31 10:00:00.120', '2026-01-31 10:00+02',
            '10:00', '1 day 02:00', gen_random_uuid(), '\\x00ff', '{"a": 1.50, "b": [1e2]}', '{"b" : 1.0,  "a":[ 1.50 ],"a":2}', '{a,NULL,"b,c"}', '{{1,2},{3,4}}', '{1.50,NULL}'),
           (2, 12345678901234567890.10, null, 'NaN', 1e-7, -1, false, '', null, null, null, null, null, null, null, '', '"1.50"', '"x"', '{}', null, null),
           (3, 0.00, 0.10, '-Infinity', 'Infinity', 0, null, '1.50', 'abc', 'infinity', '-infinity', '0044-03-15 10:00 BC', '24:00', '-1 mon', null, null, '[{"n": 0.10}]', '[1.0 , {}]', null, '{}', '{}')`,
      );
      const [copied] = await bench.db.query<{ text: string }>(
        `select string_agg(row_to_json(t)::text, E'\\n') as text from t`,
      );
      await bench.write({ 'in.ndjson': `${copied?.text}\n` });
      // A transform gets the values of JSON, and a `json` column then keeps its values but not its spaces.
      const columns =
        source.transform === undefined
          ? {}
          : {
              transform: (row: Record<string, unknown>) =>
                Object.fromEntries(Object.entries(row).filter(([name]) => name !== 'k')),
            };
      const { task, result } = await bench.load({
        from: 'in.ndjson',
        mode: 'merge',
        key: ['id'],
        ...source,
        ...columns,
      });
      expect(task?.error).to.equal(undefined);
      expect(result).to.include({ rows: 3, inserted: 0, updated: 0 });
    });
  }

  it('create columns that hold them exactly', async () => {
    await bench.write({
      'in.ndjson':
        '{"id":9007199254740993,"2024":1.50,"2023":true,"huge":1e400,"j":{"a":1},"d":{"a":1,"a":2},"at":"2026-01-31"}\n',
    });
    for (const transform of [undefined, (row: Record<string, unknown>) => ({ ...row, last: 1 })]) {
      await bench.db.query('drop table if exists made');
      const { task } = await bench.load({
        from: 'in.ndjson',
        into: 'made',
        create: true,
        ...(transform && { transform }),
      });
      expect(task?.error).to.equal(undefined);
      const [row] = await bench.db.query<{ columns: string; value: string }>(
        `select (select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)
                 from pg_attribute where attrelid = 'made'::regclass and attnum > 0) as columns, "2024"::text as value from made`,
      );
      const duplicate = transform ? 'jsonb' : 'json'; // A transform gets one value for a name that occurs twice.
      expect(row?.columns).to.equal(
        `id bigint, 2024 numeric, 2023 boolean, huge numeric, j jsonb, d ${duplicate}, at date${transform ? ', last bigint' : ''}`,
      );
      expect(row?.value).to.equal('1.50');
    }
  });
});
