import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

/** The parts in which the runs differ. */
interface RunParts {
  readonly table?: string;
  readonly mode?: 'merge' | 'append';
  readonly cursor?: string;
}

describe('a merge into a table that an incremental task reads', () => {
  let db: TestDatabase;
  before(async () => (db = await createDatabase()));
  after(() => db.drop());
  beforeEach(() => db.query('drop table if exists t, copy cascade; drop function if exists set_it cascade'));

  /** Merges rows, reads the new rows, and returns the warnings of the run. */
  async function run(
    rows: readonly object[],
    { table = 't', mode = 'merge', cursor = 'updated_at' }: RunParts = {},
  ) {
    const graph = dag(`d-${cursor}`, { defaults: { conn: 'db' } }, (d) => {
      const load = d.load('load', { from: rows, into: 't', mode, ...(mode === 'merge' && { key: ['id'] }) });
      d.sql('copy', {
        needs: { load },
        incremental: { table, cursor },
        sql: ({ incremental: { low, high } }) => ({
          text: `insert into copy select id, n from t where ${cursor} >= $1 and ${cursor} < $2
                 on conflict (id) do update set n = excluded.n`,
          values: [low, high],
        }),
      });
    });
    const { events, tasks } = await runOn({ db: db.url }, graph);
    for (const task of tasks) expect(task.error).to.equal(undefined);
    return events.flatMap((event) =>
      event.type === 'task_log' && event.message.startsWith('warning') ? [event.message] : [],
    );
  }
  const create = (column: string) =>
    db.query(
      `create table t (id int primary key, n int, ${column}); create table copy (id int primary key, n int)`,
    );
  const copied = () => db.query('select n from copy');

  for (const [title, column, cursor] of [
    ['timestamptz', 'updated_at timestamptz not null default now()', 'updated_at'],
    ['xid8', 'tx xid8 not null default pg_current_xact_id()', 'tx'],
  ] as const) {
    it(`warns that updates do not set the cursor, and names a trigger that mends it: ${title}`, async () => {
      await create(column);
      const [warning = ''] = await run([{ id: 1, n: 1 }], { cursor });
      expect(warning).to.match(/task "copy" never reads the rows that a merge updates; create a trigger:/);
      expect(await copied()).to.deep.equal([{ n: 1 }]);
      // The trap: the second run does not see the change.
      expect(await run([{ id: 1, n: 2 }], { cursor })).to.have.length(1);
      expect(await copied()).to.deep.equal([{ n: 1 }]);

      await db.query(warning.slice(warning.indexOf('create function')));
      expect(await run([{ id: 1, n: 3 }], { cursor })).to.deep.equal([]);
      expect(await copied()).to.deep.equal([{ n: 3 }]);
    });
  }

  const updatedAt = 'updated_at timestamptz not null default now()';
  it('warns once if the name of the table is qualified', async () => {
    await create(updatedAt);
    expect(await run([{ id: 1, n: 1 }], { table: 'public.t' })).to.have.length(1);
  });

  it('does not warn if the data has the cursor', async () => {
    await create(updatedAt);
    expect(await run([{ id: 1, n: 1, updated_at: '2026-01-01Z' }])).to.deep.equal([]);
  });

  it('does not warn if the rows are only appended', async () => {
    await create(updatedAt);
    expect(await run([{ id: 1, n: 1 }], { mode: 'append' })).to.deep.equal([]);
  });

  it('does not warn if the incremental task reads another table', async () => {
    await create(updatedAt);
    await db.query('drop table if exists other; create table other (like t including all)');
    expect(await run([{ id: 1, n: 1 }], { table: 'other' })).to.deep.equal([]);
  });

  it('does not count a trigger that is switched off, or that runs after the update', async () => {
    await create(updatedAt);
    await db.query(`create function set_it() returns trigger language plpgsql as $$ begin return new; end $$;
      create trigger after_it after update on t for each row execute function set_it();
      create trigger before_it before update on t for each row execute function set_it();
      alter table t disable trigger before_it`);
    expect(await run([{ id: 1, n: 1 }])).to.have.length(1);
  });
});
