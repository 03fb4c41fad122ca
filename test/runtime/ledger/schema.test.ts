import { expect } from 'chai';
import pg from 'pg';
import { EtlError } from '../../../src/errors.js';
import { type Ledger, nameSchema } from '../../../src/runtime/ledger/ledger.js';
import { findLedgerFault, migrate, readVersion, SCHEMA_VERSION } from '../../../src/runtime/ledger/schema.js';
import type { ProtocolClient } from '../../../src/runtime/postgres/protocol.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

describe('the schema of the ledger', () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await createDatabase();
  });
  afterEach(() => db.drop());

  async function withLedger<T>(work: (ledger: Ledger) => Promise<T>, url = db.url): Promise<T> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return await work({ client: client as unknown as ProtocolClient, schema: nameSchema() });
    } finally {
      await client.end();
    }
  }

  it('is created on first use, and does not change afterwards', async () => {
    await withLedger(async (ledger) => {
      expect(await readVersion(ledger, 'here')).to.equal(0);
      await migrate(ledger, 'here');
      await migrate(ledger, 'here');
      expect(await readVersion(ledger, 'here')).to.equal(SCHEMA_VERSION);
    });
    expect(await db.query('select version from etl.migration order by 1')).to.deep.equal(
      Array.from({ length: SCHEMA_VERSION }, (_, i) => ({ version: i + 1 })),
    );
  });

  it('can be created by several installers at once', async () => {
    await Promise.all(Array.from({ length: 8 }, () => withLedger((ledger) => migrate(ledger, 'here'))));
    expect(await db.query('select count(*)::int as n from etl.migration')).to.deep.equal([
      { n: SCHEMA_VERSION },
    ]);
  });

  it('is refused if its version is newer than the program', async () => {
    await withLedger((ledger) => migrate(ledger, 'here'));
    await db.query('insert into etl.migration (version) values (99)');
    const error = await withLedger((ledger) => migrate(ledger, 'connection "db"')).catch(
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(EtlError).and.include({ code: 'ETL-4001', exitCode: 2 });
    expect((error as EtlError).message).to.include('connection "db" has version 99');
  });

  it('works for a role that may not create schemas and does not own the tables', async () => {
    await withLedger((ledger) => migrate(ledger, 'here'));
    await db.query(`
      create role ${db.name}_runner login password 'only-for-this-test';
      grant usage on schema etl to ${db.name}_runner;
      grant select, insert, update on etl.task, etl.run, etl.lock to ${db.name}_runner;
      grant select on etl.migration to ${db.name}_runner;
      create table t (v text); grant insert on t to ${db.name}_runner`);
    const url = new URL(db.url);
    url.username = `${db.name}_runner`;
    url.password = 'only-for-this-test';
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.sql('a', { sql: `insert into t values ('a')` });
    });
    const { state, tasks } = await runOn({ db: url.href }, graph);
    expect(state, tasks[0]?.error?.message).to.equal('success');
    await db.query(`drop owned by ${db.name}_runner; drop role ${db.name}_runner`);
  });

  it('reports the cause of a failed installation', async () => {
    await db.query(`create role ${db.name}_poor login password 'only-for-this-test'`);
    const url = new URL(db.url);
    url.username = `${db.name}_poor`;
    url.password = 'only-for-this-test';
    const error = await withLedger((ledger) => migrate(ledger, 'here'), url.href).catch(
      (reason: unknown) => reason,
    );
    expect(error).to.have.property('code', '42501');
    const fault = await withLedger((ledger) => findLedgerFault(ledger, 'here'), url.href);
    expect(fault).to.include({ code: 'ETL-4007' });
    expect(await withLedger((ledger) => findLedgerFault(ledger, 'here'))).to.equal(undefined);
    await db.query(`drop role ${db.name}_poor`);
  });

  it('has a comment on every table', async () => {
    await withLedger((ledger) => migrate(ledger, 'here'));
    const bare = await db.query(
      `select relname from pg_class where relnamespace = 'etl'::regnamespace and relkind = 'r' and obj_description(oid) is null`,
    );
    expect(bare).to.deep.equal([]);
  });
});
