import { expect } from 'chai';
import pg from 'pg';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';
import { tableOfValues } from '../values.js';

/** Settings of a database that change the text of values, or how a text is read. */
const SETTINGS: readonly (readonly [name: string, values: readonly string[]])[] = [
  ['DateStyle', ['German', 'SQL, DMY', 'Postgres, MDY', 'ISO, YMD']],
  ['IntervalStyle', ['sql_standard', 'postgres_verbose', 'iso_8601']],
  ['extra_float_digits', ['0', '-15']],
  ['bytea_output', ['escape']],
  ['xmloption', ['document']],
  ['array_nulls', ['off']],
  ['quote_all_identifiers', ['on']],
];

describe('the session of a task', () => {
  let db: TestDatabase;
  let expected: unknown;
  before(async () => {
    db = await createDatabase();
    await db.query(tableOfValues('v'));
    const client = new pg.Client({ connectionString: db.url });
    await client.connect();
    expected = (await client.query('select * from v')).rows;
    await client.end();
  });
  after(() => db.drop());
  afterEach(() => db.query(`alter database ${db.name} reset all`));

  /** Reads all values in a session, in a read session and by `rows`. */
  async function readValues(): Promise<readonly unknown[]> {
    const read: unknown[] = [];
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('s', { reads: ['other'] }, async ({ session, sources }) => {
        read.push(await session('v').select(), await sources.other('v').select());
        const rows = [];
        for await (const row of session.rows('select * from v')) rows.push(row);
        read.push(rows);
      });
    });
    const run = await runOn({ db: db.url, other: db.url }, graph);
    expect(run.tasks[0]?.error).to.equal(undefined);
    return read;
  }

  for (const [name, values] of SETTINGS) {
    for (const value of values) {
      it(`reads every value as ever if the database has ${name} ${value}`, async () => {
        await db.query(`alter database ${db.name} set ${name} to '${value}'`);
        expect(await readValues()).to.deep.equal([expected, expected, expected]);
      });
    }
  }

  it('reads a text in the order of day and month that the database has', async () => {
    await db.query(`alter database ${db.name} set DateStyle to 'German, DMY'`);
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.sql('s', {
        sql: () => ({ text: 'create table day as select $1::date as at', values: ['01.02.2026'] }),
        checks: [{ name: 'order', sql: `select at from day where at <> date '2026-02-01'` }],
      });
    });
    expect((await runOn({ db: db.url }, graph)).outcome('s')).to.equal('success');
  });

  it('has the TimeZone and the lc_monetary of the database', async () => {
    await db.query(`alter database ${db.name} set TimeZone to 'Asia/Tokyo'`);
    let seen: unknown;
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('s', {}, async ({ session }) => {
        seen = (
          await session.select(
            session.raw(`current_setting('TimeZone') as zone, current_setting('lc_monetary') as money`),
          )
        )[0];
      });
    });
    await runOn({ db: db.url }, graph);
    expect(seen).to.deep.equal({
      zone: 'Asia/Tokyo',
      money: (await db.query<{ lc_monetary: string }>('show lc_monetary'))[0]?.lc_monetary,
    });
  });
});
