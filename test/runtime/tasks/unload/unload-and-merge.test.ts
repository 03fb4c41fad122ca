import { expect } from 'chai';
import { dag } from '../../../../src/runtime/dag/dag.js';
import type { Partition } from '../../../../src/runtime/tasks/unload/layout.js';
import { runOn } from '../../../support/run.js';
import { UnloadProject } from './unload-project.js';

describe('an unload that is merged into its own unchanged table', () => {
  let project: UnloadProject;
  before(async () => (project = await UnloadProject.open()));
  after(() => project[Symbol.asyncDispose]());

  const files: readonly [to: string, from: string, partition: Partition | undefined][] = [
    ['out.ndjson', 'out.ndjson', undefined],
    ['parts.ndjson', 'parts.part-*.ndjson', { rows: 1 }],
    ['out.parquet', 'out.parquet', undefined],
    ['out.csv', 'out.csv', undefined],
  ];
  const columns: Readonly<Record<string, readonly [type: string, ...values: (string | null)[]]>> = {
    n: ['numeric', '1.50', '12345678901234567890.10', 'NaN'],
    m: ['numeric(10,2)', '2.00', '0.10', null],
    f: ['float8', '0.1', 'Infinity', '-0'],
    b: ['bigint', '9223372036854775807', '-1', null],
    x: ['text', '1.50', '', 'a"b\\c\n'],
    ts: ['timestamp', '2026-01-31 10:00:00.12', '0044-03-15 10:00:00 BC', null],
    tz: ['timestamptz', '2026-01-31 10:00:00.123456+00', null, '1890-01-01 00:00:00+00'],
    raw: ['bytea', '\\x00ff', '\\x', null],
    u: ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', null, null],
    j: ['jsonb', '{"a": 1.50, "b": [1.0]}', '"x"', '[]'],
    k: ['json', '{"b" : 1.0,  "a":[ 1.50 ],"a":2}', '[1.0 , {}]', '"1.50"'],
    i: ['int[]', '[0:1]={1,2}', '{{1,2},{3,4}}', '{}'],
    p: ['numeric[]', '{1.50,NULL}', '[-2:-1]={1.0,2.00}', null],
    t: ['text[]', '{"a,b",NULL,"[0:1]={x}"}', '[5:5]={"q\\"r"}', null],
    l: ['list', '[0:1]={1,2}', '{}', null],
  };
  for (const [to, from, partition] of files) {
    it(`writes no row, by ${to}`, async () => {
      const list = Object.entries(columns);
      await project.db.query(
        `drop table if exists t; drop domain if exists list; create domain list as int[];
         create table t (id int primary key, ${list.map(([name, [type]]) => `${name} ${type}`).join(', ')})`,
      );
      for (let row = 1; row <= 3; row++) {
        await project.db.query(
          `insert into t values (${row}, ${list.map(([, [type]], index) => `$${index + 1}::${type}`).join(', ')})`,
          list.map(([, values]) => values[row] ?? null),
        );
      }
      const before = await project.db.query('select t::text, xmin::text from t order by id');
      await project.clear();
      await project.unload({ query: 'select * from t order by id', to, ...(partition && { partition }) });
      const graph = dag('back', { defaults: { conn: 'db' } }, (d) => {
        d.load('l', { from, into: 't', mode: 'merge', key: ['id'] });
      });
      const { tasks } = await runOn({ db: project.db.url }, graph, { root: project.root });
      expect(tasks[0]?.error).to.equal(undefined);
      expect(await project.db.query('select t::text, xmin::text from t order by id')).to.deep.equal(before);
    });
  }
});
