import { expect } from 'chai';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Knex } from 'knex';
import { Model } from 'objection';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import type { EtlError } from '../../../src/errors.js';
import { parseConnection } from '../../../src/hooks/parse-connection.js';
import type { Database } from '../../../src/hooks/hook.js';
import { pgliteHook } from '../../../src/hooks/pglite/pglite-hook.js';
import type { ProtocolClient } from '../../../src/runtime/postgres/protocol.js';
import { copyEmbeddedDatabase } from '../../support/embedded.js';

describe('an embedded database', () => {
  let root: string;
  let database: Database;
  let knex: Knex;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'etl-pglite-'));
    database = await open(':memory:');
    knex = database.knex;
    await knex.raw('create table city (id int primary key, name text not null, population bigint)');
    await knex.raw(
      'create table visit (id int primary key, city_id int references city deferrable initially deferred)',
    );
  });

  after(async () => {
    await database.close();
    await rm(root, { recursive: true });
  });

  afterEach(() => knex.raw('truncate city, visit'));

  describe('in memory', () => {
    it('creates no files', async () => {
      expect(await readdir(root)).to.deep.equal([]);
    });

    it('has a pool of one connection and no control connection', () => {
      expect(pgliteHook.maxPoolSize).to.equal(1);
      expect(database.openControl).to.equal(undefined);
    });

    it('returns the same types as a server', async () => {
      const { rows } = await knex.raw(
        `select 1::bigint as big, 1.50::numeric as price, '2020-01-01'::timestamptz as at, null as nothing,
                '{"a":[1]}'::jsonb as doc, array[1,2] as list, '\\x00ff'::bytea as bytes, true as yes`,
      );
      expect(rows).to.deep.equal([
        {
          big: '1',
          price: '1.50',
          at: new Date('2020-01-01T00:00:00Z'),
          nothing: null,
          doc: { a: [1] },
          list: [1, 2],
          bytes: Buffer.from([0, 255]),
          yes: true,
        },
      ]);
    });

    it('serves Objection models and their relations', async () => {
      class Visit extends Model {
        static override readonly tableName = 'visit';
        declare id: number;
      }
      class City extends Model {
        static override readonly tableName = 'city';
        static override readonly relationMappings = {
          visits: {
            relation: Model.HasManyRelation,
            modelClass: Visit,
            join: { from: 'city.id', to: 'visit.city_id' },
          },
        };
        declare visits?: Visit[];
      }
      await knex.transaction(async (trx) => {
        await City.query(trx).insertGraph({ id: 1, name: 'Ulm', visits: [{ id: 7 }, { id: 8 }] } as never);
      });
      const city = await City.query(knex).findById(1).withGraphFetched('visits').throwIfNotFound();
      expect(city.visits?.map((visit) => visit.id)).to.have.members([7, 8]);
      expect(await Visit.query(knex).delete()).to.equal(2);
    });

    it('copies rows in and out with COPY', async () => {
      await knex.transaction(async (trx) => {
        const client = await acquireClient(trx);
        const copy = beginCopy(client, "copy city (id, name) from stdin with (format csv, delimiter ';')");
        await pipeline(Readable.from(['1;Ul', 'm\n2;"Bad; Tölz"\n', '3;Köln\n']), copy);
        expect(copy.rowCount).to.equal(3);
        const out = client.query(copyTo('copy (select name from city order by id) to stdout')) as Readable;
        expect((await out.toArray()).join('')).to.equal('Ulm\nBad; Tölz\nKöln\n');
      });
    });

    it('reports the line and the SQLSTATE of a row that COPY refuses, and rolls back', async () => {
      const outcome = knex.transaction(async (trx) => {
        const client = await acquireClient(trx);
        await pipeline(Readable.from(['1\tUlm\n', 'x\tKöln\n']), beginCopy(client));
      });
      const error = await catchRejection<{ code: string; where: string }>(outcome);
      expect(error).to.include({ code: '22P02', where: 'COPY city, line 2, column id: "x"' });
      expect(await count('city')).to.equal(0);
    });

    it('streams a query through a cursor', async () => {
      const stream = knex.raw('select i from generate_series(1, 2500) i').stream({ batchSize: 1000 });
      let sum = 0;
      for await (const row of stream) sum += (row as { i: number }).i;
      expect(sum).to.equal((2500 * 2501) / 2);
    });

    it('closes a cursor that is not read to its end', async () => {
      const stream = knex.raw('select i from generate_series(1, 5000) i').stream({ batchSize: 10 });
      for await (const _row of stream) break;
      expect(await count('city')).to.equal(0);
    });
  });

  describe('in a transaction', () => {
    it('commits, rolls back, and continues after a failed savepoint', async () => {
      await knex.transaction((trx) => trx('city').insert({ id: 1, name: 'Ulm' }));
      await catchRejection(
        knex.transaction(async (trx) => {
          await trx('city').insert({ id: 2, name: 'Köln' });
          throw new Error('no');
        }),
      );
      await knex.transaction(async (trx) => {
        const duplicate = trx.transaction((inner) => inner('city').insert({ id: 1, name: 'Bonn' }));
        expect(await catchRejection<{ code: string }>(duplicate)).to.include({ code: '23505' });
        await trx('city').insert({ id: 3, name: 'Jena' });
      });
      expect(await knex('city').pluck('id').orderBy('id')).to.deep.equal([1, 3]);
    });

    it('reports the transaction state with every answer', async () => {
      const client = await acquire();
      const states: unknown[] = [];
      for (const sql of ['select 1', 'begin', 'select 1', 'selec', 'select 1', 'rollback', 'select 1/0']) {
        await send(client, sql).catch(() => undefined);
        states.push(client.getTransactionStatus());
      }
      expect(states.join('')).to.equal('ITTEEII');
      await release(client);
    });

    it('answers the COMMIT of an aborted transaction with ROLLBACK', async () => {
      const client = await acquire();
      await send(client, 'begin');
      await catchRejection(send(client, 'select 1/0'));
      expect(await send(client, 'commit')).to.have.property('command', 'ROLLBACK');
      await release(client);
    });

    it('checks deferred foreign keys at COMMIT', async () => {
      const outcome = knex.transaction((trx) => trx('visit').insert({ id: 1, city_id: 99 }));
      expect(await catchRejection<{ code: string }>(outcome)).to.include({ code: '23503' });
      expect(await count('visit')).to.equal(0);
    });

    for (const isolation of ['read committed', 'repeatable read', 'serializable'] as const) {
      it(`runs at ${isolation}`, async () => {
        const { rows } = await knex.transaction((trx) => trx.raw('show transaction_isolation'), {
          isolationLevel: isolation,
        });
        expect(rows).to.deep.equal([{ transaction_isolation: isolation }]);
      });
    }

    it('has the settings, locks and transaction IDs that a run needs', async () => {
      await knex.transaction(async (trx) => {
        await trx.raw(
          'set local statement_timeout = 5000; set local lock_timeout = 5000; set local application_name = x',
        );
        await trx.raw("select set_config('etl.run', 'r', true), pg_advisory_xact_lock(42)");
        const { rows } = await trx.raw(
          "select pg_current_xact_id() > '0'::xid8 as id, current_setting('etl.run') as run",
        );
        expect(rows).to.deep.equal([{ id: true, run: 'r' }]);
      });
      const { rows } = await knex.raw("select count(*)::int as n from pg_locks where locktype = 'advisory'");
      expect(rows).to.deep.equal([{ n: 0 }]);
    });

    it('survives idle_in_transaction_session_timeout, which PGlite does not support', async () => {
      const client = await acquire();
      await send(client, 'begin; set local idle_in_transaction_session_timeout = 1');
      await new Promise((resolve) => setTimeout(resolve, 20)); // So that the time is over.
      expect(await send(client, 'select 1')).to.have.property('rowCount', 1);
      await send(client, 'rollback');
      await release(client);
    });
  });

  describe('after a connection is destroyed', () => {
    const leftOpen: readonly [title: string, leave: (client: ProtocolClient) => unknown][] = [
      ['in a transaction', (client) => send(client, 'select 1')],
      ['in an aborted transaction', (client) => catchRejection(send(client, 'select 1/0'))],
      ['in a COPY', (client) => beginCopy(client).on('error', ignore).write('1\tUlm\n')],
      [
        'with queries that are not answered',
        (client) => [1, 2, 3].map((id) => sendUnasked(client, insert(id))),
      ],
    ];
    for (const [title, leave] of leftOpen) {
      it(`${title}, gives the next connection a clean session`, async () => {
        const client = await acquire();
        await send(client, 'begin');
        await send(client, insert(10));
        await send(client, "set application_name = 'leak'; create temp table leak (a int)");
        await leave(client);
        await destroy(client);

        const next = await acquire();
        expect(next).not.to.equal(client);
        expect(next.getTransactionStatus()).to.equal('I');
        expect(await send(next, "select current_setting('application_name') n, to_regclass('leak') t"))
          .to.have.property('rows')
          .that.deep.equals([{ n: 'etl-test', t: null }]);
        expect(await send(next, 'select * from city')).to.have.property('rowCount', 0);
        await release(next);
      });
    }

    it('does not run queries that it had sent outside a transaction and that had not begun', async () => {
      const client = await acquire();
      for (const id of [1, 2, 3]) sendUnasked(client, insert(id));
      await destroy(client);
      expect(await count('city')).to.equal(0);
    });
  });

  describe('in a directory', () => {
    it('keeps its data after kill -9, and refuses a second process before', async () => {
      await copyEmbeddedDatabase(join(root, 'killed'));
      const child = await startHolder('killed');
      const refused = await catchRejection<EtlError>(open('killed'));
      expect(refused).to.include({ code: 'ETL-7502', exitCode: 75 });
      expect(refused.message).to.contain(`process ${child.pid}`);
      await kill(child);

      const reopened = await open('killed');
      expect(await reopened.knex('kept').pluck('a')).to.deep.equal([1]);
      await reopened.close();
      expect(await readdir(root)).to.deep.equal(['killed']);
    });

    it('creates the database again if the first start was cut off', async () => {
      await mkdir(join(root, 'cut'));
      for (const name of ['PG_VERSION', 'etl-unfinished']) await writeFile(join(root, 'cut', name), '');
      const made = await open('cut');
      expect((await made.knex.raw('select 1 as a')).rows).to.deep.equal([{ a: 1 }]);
      await made.close();
      expect(await readdir(join(root, 'cut'))).not.to.contain('etl-unfinished');
    });

    it('refuses a directory with other files, and leaves the files unchanged', async () => {
      await mkdir(join(root, 'other'));
      await writeFile(join(root, 'other', 'notes.txt'), 'mine');
      const error = await catchRejection<EtlError>(open('other'));
      expect(error.code).to.equal('ETL-2212');
      expect(await readdir(join(root, 'other'))).to.deep.equal(['notes.txt']);
      expect(await readdir(root)).not.to.contain('other.lock');
    });

    it("prefers the project's own PGlite, and refuses an unsupported version", async () => {
      const project = join(root, 'project');
      const folder = join(project, 'node_modules/@electric-sql/pglite');
      await mkdir(join(folder, 'dist'), { recursive: true });
      await writeFile(join(folder, 'package.json'), '{"version":"0.3.15","main":"dist/index.cjs"}');
      await writeFile(join(folder, 'dist/index.cjs'), '');
      const error = await catchRejection<EtlError>(open('data', project));
      expect(error).to.include({
        code: 'ETL-2211',
        exitCode: 2,
        fix: 'run `npm i @electric-sql/pglite@0.5`',
      });
      expect(error.message).to.contain('0.3.15');
      expect(await readdir(project)).to.deep.equal(['node_modules']);
    });

    it('locks the real path of a directory', async () => {
      await mkdir(join(root, 'real'));
      await symlink('real', join(root, 'alias'));
      await writeFile(join(root, 'real.lock'), 'somebody');
      expect(await catchRejection<EtlError>(open('alias'))).to.have.property('code', 'ETL-7502');
    });

    it('reports a directory that PGlite can not read, and releases the lock', async () => {
      await mkdir(join(root, 'old'));
      await writeFile(join(root, 'old', 'PG_VERSION'), '9\n');
      const error = await catchRejection<EtlError>(open('old'));
      expect(error).to.include({ code: 'ETL-1001', exitCode: 69 });
      expect(error.message).to.contain('pglite:old');
      expect(await readdir(root)).not.to.contain('old.lock');
    });
  });

  describe('on close', () => {
    it('ends a transaction that nobody ends, and a second time too', async () => {
      await copyEmbeddedDatabase(join(root, 'closed'));
      const other = await open('closed');
      const client = (await other.knex.client.acquireConnection()) as ProtocolClient;
      client.on('error', ignore);
      await send(client, 'begin');
      beginCopy(client).on('error', ignore);
      await other.close();
      await other.close();
      await catchRejection(send(client, 'select 1'));
    });
  });

  function open(directory: string, from = root): Promise<Database> {
    return pgliteHook.open(parseConnection('demo', `pglite:${directory}`, 'test'), {
      poolSize: 4,
      applicationName: 'etl-test',
      variables: {},
      root: from,
      pid: process.pid,
      notice: (text) => expect.fail(text),
    });
  }

  /** Starts a process that has a database with one row open. */
  async function startHolder(directory: string): Promise<ChildProcess> {
    const [parser, hook] = ['parse-connection', 'pglite/pglite-hook'].map((name) =>
      JSON.stringify(new URL(`../../../src/hooks/${name}.ts`, import.meta.url).href),
    );
    const source = `
      import { parseConnection } from ${parser};
      import { pgliteHook } from ${hook};
      const { knex } = await pgliteHook.open(parseConnection('demo', 'pglite:${directory}', 'test'), {
        poolSize: 1, applicationName: 'etl', variables: {}, root: ${JSON.stringify(root)}, pid: process.pid, notice() {},
      });
      await knex.raw('create table kept (a int); insert into kept values (1)');
      console.log('ready');
      process.stdin.resume();`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', source], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    for await (const line of createInterface(child.stdout)) {
      expect(line).to.equal('ready');
      break;
    }
    return child;
  }

  async function acquire(): Promise<ProtocolClient> {
    return (await knex.client.acquireConnection()) as ProtocolClient;
  }

  async function release(client: ProtocolClient): Promise<void> {
    await knex.client.releaseConnection(client);
  }

  async function destroy(client: ProtocolClient): Promise<void> {
    client.__knex__disposed = 'not clean';
    client.connection.stream.destroy();
    await release(client);
  }

  async function count(table: string): Promise<number> {
    const rows = await knex(table).count('* as n');
    return Number(rows[0]?.['n']);
  }
});

function insert(id: number): string {
  return `insert into city values (${id}, 'Ulm')`;
}

function send(client: ProtocolClient, text: string): Promise<unknown> {
  return (client as unknown as { query(text: string): Promise<unknown> }).query(text);
}

/** Sends a query without waiting for the answer to the query before. */
function sendUnasked(client: ProtocolClient, text: string): void {
  (client.connection as unknown as { query(text: string): void }).query(text);
}

function beginCopy(
  client: ProtocolClient,
  sql = 'copy city (id, name) from stdin',
): Writable & { readonly rowCount: number } {
  return client.query(copyFrom(sql)) as Writable & { readonly rowCount: number };
}

async function acquireClient(trx: Knex.Transaction): Promise<ProtocolClient> {
  return (await trx.client.acquireConnection()) as ProtocolClient;
}

async function catchRejection<Thrown = unknown>(work: PromiseLike<unknown>): Promise<Thrown> {
  try {
    await work;
  } catch (error) {
    return error as Thrown;
  }
  return expect.fail('it did not fail');
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

function ignore(): void {
  // The statement is lost with its connection.
}
