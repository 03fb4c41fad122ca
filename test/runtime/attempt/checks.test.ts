import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import type { Check } from '../../../src/runtime/tasks/task.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

describe('a failed check', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query(`create table item (region text, id int, note text, primary key (id, region));
      create table plain (n int, note text)`);
  });
  after(() => db.drop());
  beforeEach(() => db.query('truncate item, plain'));

  const FILL = `insert into item select 'eu', i, 'note ' || i from generate_series(1, 250000) i;
    insert into plain select i, 'note' from generate_series(1, 12) i`;

  /** Runs a task that writes rows and has this check. Returns the parts of its error. */
  async function fail(check: Omit<Check, 'name'>, recordsRowData = false) {
    const checks = [{ name: 'none', ...check }];
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('s', { sql: FILL, checks }));
    const run = await runOn({ db: db.url }, graph, { recordsRowData });
    expect(run.outcome('s')).to.match(/^failed ETL-3(101|001)$/);
    expect(await db.query('select from item limit 1')).to.deep.equal([]);
    const { message, why, where, fix, rowData, check: found } = run.tasks[0]?.error ?? {};
    return { runId: run.runId, message, why, where, fix, rowData, check: found };
  }

  for (const { title, check, message, columns, rowData } of [
    {
      title: 'shows the number of rows, and the key of the first rows',
      check: { sql: 'select note, region, id from item where id between 7 and 9 order by id; ' },
      message: 'check "none" failed: its query returned 3 rows',
      columns: ['note', 'region', 'id'],
      rowData: '{"id":7,"region":"eu"}\n{"id":8,"region":"eu"}\n{"id":9,"region":"eu"}',
    },
    {
      title: 'shows all columns if the query does not return the whole key',
      check: { sql: 'select id, note from item where id = $1 -- one row', values: [5] },
      message: 'check "none" failed: its query returned 1 row',
      columns: ['id', 'note'],
      rowData: '{"id":5,"note":"note 5"}',
    },
    {
      title: 'shows at most ten rows',
      check: { sql: 'select n from plain order by n' },
      message: 'check "none" failed: its query returned 12 rows',
      columns: ['n'],
      rowData: `${Array.from({ length: 10 }, (_, i) => `{"n":${i + 1}}`).join('\n')}\n… of 12 rows`,
    },
    {
      title: 'counts at most 100,000 rows',
      check: { sql: 'select id, region from item where id <= 200000 order by id desc' },
      message: 'check "none" failed: its query returned more than 100,000 rows',
      columns: ['id', 'region'],
      rowData: `${Array.from({ length: 10 }, (_, i) => `{"id":${200_000 - i},"region":"eu"}`).join('\n')}\n… of more than 100,000 rows`,
    },
    {
      title: 'shows long values cut',
      check: { sql: `select repeat('x', 1000000) as long from plain limit 1` },
      message: 'check "none" failed: its query returned 1 row',
      columns: ['long'],
      rowData: `{"long":"${'x'.repeat(291)}…`,
    },
  ]) {
    it(title, async () => {
      const found = await fail(check);
      expect({ message: found.message, rowData: found.rowData }).to.deep.equal({ message, rowData });
      expect(found.why?.split('\n')[1]).to.equal(
        `columns of the rows: ${columns.map((each) => `"${each}"`).join(', ')}`,
      );
      expect(found.check).to.include({ name: 'none' }).and.deep.include({ columns });
    });
  }

  it('asks for the key if its query returns constants', async () => {
    const { why, fix, rowData } = await fail({ sql: 'select 1 from plain' });
    expect(rowData).to.equal(undefined);
    expect(why).to.equal('a check fails if its query returns a row\nquery: select … from plain');
    expect(fix).to.include('select the key of the rows in the query of the check');
  });

  it('is in the ledger with its number of rows, and with the rows only where row data is allowed', async () => {
    for (const [allowed, rowData] of [
      [false, null],
      [true, '{"n":1}'],
    ] as const) {
      const { runId } = await fail({ sql: 'select n from plain where n = 1' }, allowed);
      const rows = await db.query(
        `select error->'check' as check, row_data from etl.attempt where run_id = $1`,
        [runId],
      );
      expect(rows).to.deep.equal([{ check: { name: 'none', rows: 1, columns: ['n'] }, row_data: rowData }]);
    }
  });

  it('has its name and a caret in its own SQL if its query is wrong', async () => {
    const { where } = await fail({ sql: 'select nn from plain' });
    expect(where).to.match(/\ncheck "none"\nstatement written at \S+\nselect nn from plain\n {7}\^$/);
  });
});
