import { expect } from 'chai';
import { Client } from 'pg';
import { createDatabase, ownCluster } from './database.js';

describe('the test rig', () => {
  it('creates an empty database that its URL opens over TCP', async () => {
    await using db = await createDatabase();
    const client = new Client(db.url);
    await client.connect();
    const { rows } = await client.query('select current_database() as name');
    await client.end();
    expect(rows).to.deep.equal([{ name: db.name }]);
    expect(db.url).to.match(/^postgres:\/\/[^:@/]+:[^:@/]+@127\.0\.0\.1:\d+\/\w+$/);
  });

  it('starts a server that listens on a Unix socket, too', async () => {
    const server = await ownCluster();
    await using db = await createDatabase({ server });
    const { port, user, password } = server;
    const client = new Client({ host: server.socketDirectory, port, user, password, database: db.name });
    await client.connect();
    const { rows } = await client.query('select current_database() as name, inet_server_addr() as address');
    await client.end();
    expect(rows).to.deep.equal([{ name: db.name, address: null }]);
  });

  it('starts a server that asks for the password', async () => {
    await using db = await createDatabase({ server: await ownCluster() });
    const client = new Client(db.url.replace(/:[^:@/]+@/, ':wrong@'));
    const error: unknown = await client.connect().catch((reason: unknown) => reason);
    expect(error).to.have.property('code', '28P01');
  });

  it('gives each test its own database', async () => {
    await using one = await createDatabase();
    await using two = await createDatabase();
    await one.query('create table t (a int)');
    const found = await two.query('select 1 from pg_class where relname = $1', ['t']);
    expect(found).to.deep.equal([]);
  });

  it('fails with the sessions that a test left open, and drops the database all the same', async () => {
    const db = await createDatabase({ patienceMs: 50 });
    const client = new Client({ connectionString: db.url, application_name: 'forgotten' });
    client.on('error', () => {});
    await client.connect();
    expect(await db.sessions()).to.have.length(1);
    const error: unknown = await db.drop().catch((reason: unknown) => reason);
    expect(error)
      .to.be.an('error')
      .with.property('message')
      .that.matches(/1 session.*\n.*forgotten/);
    await using other = await createDatabase();
    const found = await other.query('select 1 from pg_database where datname = $1', [db.name]);
    expect(found).to.deep.equal([]);
  });

  it('answers after a restart, and answers with TLS when TLS is on', async () => {
    const server = await ownCluster();
    await using db = await createDatabase({ server });
    await db.query('create table t (a int)');
    await server.restart('immediate');
    expect(await db.query('select count(*)::int as n from t')).to.deep.equal([{ n: 0 }]);
    await server.setSsl(true);
    expect(await db.query('show ssl')).to.deep.equal([{ ssl: 'on' }]);
    await server.setSsl(false);
    expect(await db.query('show ssl')).to.deep.equal([{ ssl: 'off' }]);
  });
});
