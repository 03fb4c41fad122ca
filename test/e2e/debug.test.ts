import { expect } from 'chai';
import { createProject, type Project } from '../support/cli.js';
import { cluster, createDatabase, type TestDatabase } from '../support/database.js';
import { recordingProxy } from '../support/recording-proxy.js';

const CONFIG = `
import { dag, defineConfig } from '@oneshot/etl';
import { readOrders } from './orders.ts';
export default defineConfig({
  dags: [
    dag('good', { defaults: { conn: 'shop' } }, (d) => {
      const load = d.load('load', { from: 'orders.csv', into: 'orders', mode: 'replace' });
      d.session('count', { needs: [load] }, async ({ session }) => {
        await session('orders').where('customer', 'Ann Example').select('id');
        await session.raw("select 'literal-of-a-row\\n::error::forged \\u001b[31m'");
        for await (const row of session.rows('select id from orders', { batch: 1 })) void row;
        return null;
      });
    }),
    dag('killed', { defaults: { conn: 'shop' } }, (d) => {
      d.session('kill', {}, async ({ session }) => {
        await session.raw('select pg_terminate_backend(pg_backend_pid())');
      });
    }),
    dag('bad', { defaults: { conn: 'shop', retries: 1, backoff: { initial: '1ms' } } }, (d) => {
      d.session('read', {}, async ({ session }) => readOrders(session));
    }),
  ],
});`;
const ORDERS = `import type { Session } from '@oneshot/etl';

export async function readOrders(session: Session): Promise<null> {
  try {
    await session('orders').where('totl', 5);
  } catch (error) {
    throw new Error('the orders can not be read', { cause: error });
  }
  return null;
}`;

describe('--debug', () => {
  let db: TestDatabase;
  let project: Project;
  before(async () => {
    db = await createDatabase();
    await db.query('create table orders (id int primary key, customer text)');
    project = await createProject({
      'etl.config.ts': CONFIG,
      'orders.ts': ORDERS,
      'orders.csv': 'id,customer\n1,Ann Example\n2,Bob\n',
    });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  const etl = (args: string, env: Readonly<Record<string, string>> = {}) =>
    project.cli(args.split(' '), { ETL_CONN_SHOP: db.url, ...env });

  /** Returns the texts of the statements that the output shows. */
  function listStatements(stderr: string): string[] {
    return [...stderr.matchAll(/^debug \S+ pid \d+(?: "[^"]*")?: .+\n((?: {4}.*\n)+)/gm)].map(
      ([, text = '']) =>
        text
          .replaceAll(/^ {4}/gm, '')
          .replace(/\n(?:\d+ values? hidden.*|\$1 = [^]*)$/, '')
          .trim(),
    );
  }

  it('shows exactly the statements that pass on the wire, of the program and of the user', async () => {
    await using proxy = await recordingProxy((await cluster()).port);
    const { code, stderr } = await etl('run good --debug --show-data', { ETL_CONN_SHOP: proxy.url(db.url) });
    expect(code, stderr).to.equal(0);
    const clean = (text: string): string => text.trim().split('\n')[0]?.trim() ?? '';
    const shown = new Set(listStatements(stderr).map(clean));
    const wire = [...proxy.statements].map(clean).filter((text) => !text.includes('\u001b'));
    expect(wire.filter((text) => text !== '' && !shown.has(text))).to.deep.equal([]);
    expect(wire.length).to.be.greaterThan(15);
  });

  it('names the connection, the session, the task, the time and the rows of each statement', async () => {
    const { stderr } = await etl('run good --debug');
    expect(stderr).to.match(/^debug shop pid \d+: session opened {2}[\d.]+ ms$/m);
    expect(stderr).to.match(
      /^debug shop pid \d+ "count": [\d.]+ ms {2}SELECT 1\n {4}select "id" from "orders" where "customer" = \$1\n {4}1 value hidden: --show-data shows them$/m,
    );
    expect(stderr).to.match(/^debug shop pid \d+ "load": [\d.]+ ms {2}COPY 2\n {4}copy /im);
    expect(stderr).to.match(/^debug shop pid \d+ "count": [\d.]+ ms {2}COMMIT\n {4}commit$/im);
    expect(stderr).to.include('1 rows, and more follow');
  });

  it('shows a statement whose connection ends before its answer', async () => {
    const { code, stderr } = await etl('run killed --debug');
    expect(code).to.equal(1);
    expect(stderr).to.match(
      /^debug shop pid \d+ "kill": [\d.]+ ms {2}failed with SQLSTATE 57P01\n {4}select pg_terminate_backend/m,
    );
  });

  it('shows values of rows only where they may be shown', async () => {
    const hidden = await etl('run good --debug');
    expect(hidden.stderr).to.not.include('Ann Example').and.not.include('literal-of-a-row');
    const shown = await etl('run good --debug --show-data');
    expect(shown.stderr).to.include(`$1 = 'Ann Example'`).and.include('literal-of-a-row');
  });

  it('masks secrets, and makes every line harmless for a terminal and a CI system', async () => {
    const { stderr } = await etl('run good --debug --show-data', { API_TOKEN: 'literal-of-a-row' });
    expect(stderr).to.not.include('literal-of-a-row').and.not.include('\u001b');
    expect(stderr).to.not.match(/^\s*::error::/m);
  });

  it('shows the stack of each error of a chain, with the lines of the files as the user wrote them', async () => {
    const { code, stderr } = await etl('run bad --debug');
    expect(code).to.equal(1);
    expect(stderr).to.match(/^debug stack of the error of "read"$/m);
    expect(stderr).to.match(
      /cause: Error: the orders can not be read\n {6}at \S*readOrders \(orders\.ts:7:11\)/,
    );
    expect(stderr).to.match(/cause: column "totl" does not exist \(42703\)/);
    expect(stderr).to.match(
      /the query was awaited\n(?: {10}at .*\n)*? {10}at async \S*readOrders \(orders\.ts:5:/,
    );
    expect(stderr).to.match(/^debug shop pid \d+ "read": [\d.]+ ms {2}failed with SQLSTATE 42703$/m);
  });

  it('leaves stdout to the data, with every reporter', async () => {
    const { stdout, stderr } = await etl('run good --debug --reporter ndjson');
    for (const line of stdout.trim().split('\n')) expect(JSON.parse(line)).to.have.property('event');
    expect(stderr).to.match(/^debug shop /m);
    const quiet = await etl('run good --debug --quiet --json');
    expect(JSON.parse(quiet.stdout)).to.have.property('state', 'success');
    expect(quiet.stderr)
      .to.match(/^debug shop /m)
      .and.not.match(/^OK/m);
  });

  it('works in every command that opens a database, and by ETL_DEBUG', async () => {
    for (const args of ['connections test shop', 'check', 'runs', 'ledger status', 'state list good']) {
      const { stderr, stdout } = await etl(args, { ETL_DEBUG: '1' });
      expect(stderr, args).to.match(/^debug shop pid \d+: [\d.]+ ms {2}\S/m);
      expect(stdout, args).to.not.include('debug ');
    }
    expect((await etl('run good')).stderr).to.not.include('debug ');
    expect((await etl('run good', { ETL_DEBUG: '0' })).stderr).to.not.include('debug ');
  });

  it('shows the stacks of an error that ends a command', async () => {
    const { stderr } = await etl('connections test shop --debug', {
      ETL_CONN_SHOP: 'postgres://me@127.0.0.1:1/shop',
    });
    expect(stderr).to.match(/debug stack of the error of the command\n {2}ETL-1001: /);
    expect(stderr).to.match(/cause: Error: connect ECONNREFUSED 127\.0\.0\.1:1/);
  });
});
