import { expect } from 'chai';
import knexOf, { type Knex } from 'knex';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { Model } from 'objection';
import pg from 'pg';
import { createProject, ROOT } from './support/cli.js';
import { createDatabase, type TestDatabase } from './support/database.js';

const require = createRequire(import.meta.url);

type Any = any; // oxlint-disable-line typescript/no-explicit-any -- the parts have no published type

/**
 * A part of a library that the library's documentation does not promise. `uses` is the text in `file` that uses the
 * part. The test fails if `file` does not use the part any more.
 */
interface Part {
  readonly name: string;
  readonly file: string;
  readonly uses: string;
  readonly check: () => Promise<void>;
}

/** A module that the types of cosmiconfig do not declare. */
const EXPLORER: string = 'cosmiconfig/dist/Explorer.js';

/** A log for Knex, which otherwise prints warnings to stdout. */
const SILENT = { warn: () => undefined };

/** If an upgrade breaks a part, the title of the failing test names the part. */
describe('the private parts of libraries', () => {
  let db: TestDatabase;
  let client: Any;
  let knex: Knex;

  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());
  beforeEach(async () => {
    client = new pg.Client(db.url);
    await client.connect();
    knex = knexOf({ client: 'pg', connection: db.url, pool: { min: 0, max: 1 }, log: SILENT });
  });
  afterEach(async () => {
    await client.end();
    await knex.destroy();
  });

  it('are tested on the versions that are in the bundle', async () => {
    const bom = JSON.parse(await readFile(join(ROOT, 'dist/sbom.cdx.json'), 'utf8')) as {
      components: { group?: string; name: string; version: string }[];
    };
    for (const name of ['pg', 'knex', 'objection', 'cosmiconfig']) {
      const { version } = require(`${name}/package.json`) as { version: string };
      const bundled = bom.components.filter((each) => each.group === undefined && each.name === name);
      expect(
        bundled.map((each) => each.version),
        name,
      ).to.deep.equal([version]);
    }
  });

  /**
   * Submits messages, and resolves when the server is ready for the next statement. `on` has handlers of the replies.
   */
  function exchange(submit: (connection: Any) => void, on: Record<string, (...args: Any[]) => void> = {}) {
    return new Promise<void>((resolve, reject) => {
      const ignored = [
        'handleRowDescription',
        'handleDataRow',
        'handleCommandComplete',
        'handleEmptyQuery',
        'handlePortalSuspended',
        'handleCopyInResponse',
        'handleCopyData',
      ].map((name) => [name, () => undefined]);
      client.query({
        ...Object.fromEntries(ignored),
        submit,
        handleError: reject,
        handleReadyForQuery: () => resolve(),
        ...on,
      });
    });
  }

  /** Sends a statement, and resolves when the server is ready again, which is later than the error of the statement. */
  async function runToReady(text: string): Promise<void> {
    const ready = once(client.connection, 'readyForQuery');
    await client.query(text).catch(() => undefined);
    await ready;
  }

  const PG: readonly Part[] = [
    {
      name: 'client.connection.stream is the socket',
      file: 'hooks/client.ts',
      uses: 'connection.stream.destroy()',
      check: async () => expect(client.connection.stream).to.be.instanceOf(Socket) && undefined,
    },
    {
      name: 'client._getActiveQuery() is the running query',
      file: 'hooks/client.ts',
      uses: '_getActiveQuery',
      check: async () => {
        const query = new pg.Query('select 1');
        const done = new Promise((resolve) => query.once('end', resolve));
        client.query(query);
        expect(client._getActiveQuery()).to.equal(query);
        await done;
        await client.query('select 1');
        expect(client._getActiveQuery() ?? undefined).to.equal(undefined);
      },
    },
    {
      name: 'client._getActiveQuery() is the query whose answer is awaited',
      file: 'runtime/postgres/silence-watch.ts',
      uses: '_getActiveQuery',
      check: async () => expect(client._getActiveQuery() ?? undefined).to.equal(undefined) && undefined,
    },
    {
      name: 'client.processID and client.secretKey identify the session in a cancel request',
      file: 'hooks/client.ts',
      uses: 'secretKey',
      check: async () => {
        const { rows } = await client.query('select pg_backend_pid() as pid');
        expect(client.processID).to.equal(rows[0].pid);
        expect(client.secretKey).to.be.a('number');
        expect(`${client.host}:${client.port}`).to.equal(new URL(db.url).host);
      },
    },
    {
      name: 'client.connectionParameters.options is sent to the server, even if it is set after the constructor',
      file: 'hooks/client.ts',
      uses: 'Object.assign(this.connectionParameters',
      check: async () => {
        const other: Any = new pg.Client(db.url);
        expect(other.connectionParameters).to.include.keys('options', 'replication');
        Object.assign(other.connectionParameters, { options: '-c work_mem=99kB', replication: undefined });
        await other.connect();
        const { rows } = await other.query('show work_mem');
        await other.end();
        expect(rows).to.deep.equal([{ work_mem: '99kB' }]);
      },
    },
    {
      name: 'client.getStartupConf() returns the settings that the client sends when it connects',
      file: 'hooks/client.ts',
      uses: 'this.getStartupConf =',
      check: async () => {
        const other: Any = new pg.Client(db.url);
        const sent = other.getStartupConf();
        other.getStartupConf = () => ({ ...sent, TimeZone: 'Asia/Tokyo' });
        await other.connect();
        const { rows } = await other.query('show timezone');
        await other.end();
        expect(rows).to.deep.equal([{ TimeZone: 'Asia/Tokyo' }]);
      },
    },
    {
      name: 'client.connection tells how the server authenticates the client, before pg sends a password',
      file: 'hooks/client.ts',
      uses: "connection.on('authenticationSASL'",
      check: async () => {
        const other: Any = new pg.Client(db.url);
        const seen: string[] = [];
        other.connection.on('authenticationSASL', ({ mechanisms }: Any) => seen.push(mechanisms.join()));
        other.connection.on('authenticationSASLFinal', () => seen.push('final'));
        other.connection.on('authenticationOk', () => seen.push('ok'));
        const send = other.connection.sendSASLInitialResponseMessage.bind(other.connection);
        other.connection.sendSASLInitialResponseMessage = (...args: Any[]) => {
          seen.push('sent');
          send(...args);
        };
        await other.connect();
        await other.end();
        expect(seen).to.deep.equal(['SCRAM-SHA-256', 'sent', 'final', 'ok']);
      },
    },
    {
      name: 'the option `stream` returns the socket; pg connects the socket and waits for its event',
      file: 'hooks/postgres/postgres-hook.ts',
      uses: 'stream: () => createSocket',
      check: async () => {
        const socket = new Socket();
        const config: Any = { connectionString: db.url, stream: () => socket };
        const other: Any = new pg.Client(config);
        await other.connect();
        expect(other.connection.stream).to.equal(socket);
        await other.end();
      },
    },
    {
      name: 'client.getTransactionStatus() is I, T or E',
      file: 'runtime/postgres/transaction.ts',
      uses: 'getTransactionStatus()',
      check: async () => {
        const seen = [client.getTransactionStatus()];
        for (const text of ['begin', 'select 1/0', 'rollback']) {
          await runToReady(text);
          seen.push(client.getTransactionStatus());
        }
        expect(seen).to.deep.equal(['I', 'T', 'E', 'I']);
      },
    },
    {
      name: 'client.connection.parsedStatements are the named statements; without an entry, a statement is parsed again',
      file: 'runtime/postgres/prepared-statements.ts',
      uses: 'parsedStatements = {}',
      check: async () => {
        await client.query({ name: 'one', text: 'select 1' });
        expect(client.connection.parsedStatements).to.deep.equal({ one: 'select 1' });
        await client.query('discard all');
        client.connection.parsedStatements = {};
        await client.query({ name: 'one', text: 'select 1' });
      },
    },
    {
      name: 'client.constructor.Query is a query whose messages another query can send',
      file: 'runtime/postgres/protocol.ts',
      uses: '{ Query } = client.constructor',
      check: async () => {
        const config = { text: 'select $1::int as n', types: client, queryMode: 'extended' };
        const rows = await new Promise((resolve, reject) => {
          const query = new client.constructor.Query(config, [5], (error: Error, result: Any) =>
            error ? reject(error) : resolve(result.rows),
          );
          expect(query.requiresPreparation()).to.equal(true);
          const handlers = Object.fromEntries(
            ['RowDescription', 'DataRow', 'CommandComplete', 'Error', 'ReadyForQuery'].map((name) => [
              `handle${name}`,
              (...args: Any[]) => query[`handle${name}`](...args),
            ]),
          );
          client.query({ submit: (connection: Any) => query.submit(connection), ...handlers });
        });
        expect(rows).to.deep.equal([{ n: 5 }]);
      },
    },
    {
      name: 'client.connection emits errorMessage, commandComplete, copyInResponse and readyForQuery',
      file: 'runtime/postgres/task-connection.ts',
      uses: "'errorMessage'",
      check: async () => {
        const seen: unknown[] = [];
        client.connection.on('errorMessage', ({ code }: Any) => seen.push(code));
        client.connection.on('commandComplete', ({ text }: Any) => seen.push(text));
        client.connection.on('copyInResponse', () => seen.push('copy'));
        client.connection.on('readyForQuery', ({ status }: Any) => seen.push(status));
        await client.query('begin; create temp table t (id int)');
        await runToReady('select 1/0');
        expect(seen).to.deep.equal(['BEGIN', 'CREATE TABLE', 'T', '22012', 'E']);
        await client.query('rollback; create temp table t (id int)');
        seen.splice(0);
        const submit = (connection: Any): void => connection.query('copy t from stdin');
        await exchange(submit, {
          handleCopyInResponse: ({ stream }: Any) => stream.write(Buffer.from([0x63, 0, 0, 0, 4])),
        });
        expect(seen).to.deep.equal(['copy', 'COPY 0', 'I']);
      },
    },
    {
      name: "client.query(query) calls query.submit(connection) and the query's handlers",
      file: 'runtime/copy/exchange.ts',
      uses: 'implements Submittable',
      check: async () => {
        const seen: unknown[] = [];
        await exchange((connection) => connection.query(`select 1 as n, 'a'; ;`), {
          handleRowDescription: ({ fields }) => seen.push(fields[0].name, fields[0].dataTypeID),
          handleDataRow: ({ fields }) => seen.push(fields),
          handleCommandComplete: ({ text }) => seen.push(text),
        });
        expect(seen).to.deep.equal(['n', 23, ['1', 'a'], 'SELECT 1']);
        const failed = exchange((connection) => connection.query('select 1/0'));
        expect(await failed.catch((error: unknown) => error)).to.have.property('code', '22012');
      },
    },
    {
      name: 'connection.parse, bind, describe, execute, close and sync write messages of the extended protocol',
      file: 'runtime/copy/portal.ts',
      uses: '.execute({',
      check: async () => {
        const rows: unknown[] = [];
        let isSuspended = false;
        const on = {
          handleDataRow: ({ fields }: Any) => rows.push(...fields),
          handlePortalSuspended: () => (isSuspended = true),
        };
        await client.query('begin');
        await exchange((messages) => {
          messages.parse({ text: 'select generate_series(1, $1::int)' });
          messages.bind({
            portal: 'p',
            values: [2],
            valueMapper: (value: unknown) => String(Number(value) + 1),
          });
          messages.describe({ type: 'P', name: 'p' });
          messages.execute({ portal: 'p', rows: 2 });
          messages.sync();
        }, on);
        expect({ rows, isSuspended }).to.deep.equal({ rows: ['1', '2'], isSuspended: true });
        await exchange((messages) => {
          messages.close({ type: 'P', name: 'p' });
          messages.sync();
        });
        await client.query('rollback');
      },
    },
    {
      name: "the listeners of the socket's event `data` can be removed and called later",
      file: 'runtime/copy/frames.ts',
      uses: "listeners('data')",
      check: async () => {
        const { stream } = client.connection;
        const listeners = stream.listeners('data');
        expect(listeners).to.have.lengthOf(1);
        stream.removeAllListeners('data');
        const bytes: Buffer[] = [];
        const pass = (part: Buffer): void => {
          bytes.push(part);
          listeners[0].call(stream, part);
        };
        stream.on('data', pass);
        const { rows } = await client.query('select 7 as n');
        stream.removeListener('data', pass).on('data', listeners[0]);
        expect(rows).to.deep.equal([{ n: 7 }]);
        expect(Buffer.concat(bytes).subarray(-6)).to.deep.equal(Buffer.from('Z\0\0\0\x05I'));
        await client.query('select 1');
      },
    },
    {
      name: 'pg.utils.prepareValue converts a value to the text that the driver binds',
      file: 'runtime/session/session-copy.ts',
      uses: 'utils.prepareValue',
      check: async () => {
        const { prepareValue } = (pg as Any).utils;
        expect([[1, 'a b'], { a: 1 }, true].map((value) => prepareValue(value))).to.deep.equal([
          '{"1","a b"}',
          '{"a":1}',
          'true',
        ]);
      },
    },
  ];

  const KNEX: readonly Part[] = [
    {
      name: 'knex.client.driver has the class Client, which Knex instantiates',
      file: 'hooks/postgres/postgres-hook.ts',
      uses: 'client.driver =',
      check: async () => {
        class Own extends pg.Client {}
        knex.client.driver = { Client: Own };
        const taken = await knex.client.acquireConnection();
        await knex.client.releaseConnection(taken);
        expect(taken).to.be.instanceOf(Own);
      },
    },
    {
      name: 'knex.client.acquireConnection and releaseConnection take and return a client, and pool.numPendingAcquires() counts waiting callers',
      file: 'runtime/database/run-database.ts',
      uses: 'numPendingAcquires()',
      check: async () => {
        const taken = await knex.client.acquireConnection();
        expect(taken).to.be.instanceOf(pg.Client);
        expect(knex.client.pool.numPendingAcquires()).to.equal(0);
        const next = knex.client.acquireConnection();
        expect(knex.client.pool.numPendingAcquires()).to.equal(1);
        await knex.client.releaseConnection(taken);
        expect(await next).to.equal(taken);
        await knex.client.releaseConnection(taken);
      },
    },
    {
      name: '__knex__disposed on a client makes the pool discard the client',
      file: 'runtime/database/run-database.ts',
      uses: '__knex__disposed ??=',
      check: async () => {
        const taken = await knex.client.acquireConnection();
        taken.__knex__disposed = 'not clean';
        await knex.client.releaseConnection(taken);
        const next = await knex.client.acquireConnection();
        await knex.client.releaseConnection(next);
        expect(next).to.not.equal(taken);
      },
    },
    {
      name: 'knex.transaction on a given connection sends only BEGIN, with a callback',
      file: 'runtime/session/session.ts',
      uses: 'knex.transaction(',
      check: async () => {
        const asked: unknown[] = [];
        const connection: Any = {
          query: (config: Any, values: Any, callback: Any) => {
            asked.push(config.text ?? config);
            (callback ?? values)(null, { command: 'BEGIN', rowCount: 0, oid: 0, fields: [], rows: [] });
          },
        };
        const transaction = await knex.transaction(undefined, { connection });
        expect(asked).to.deep.equal(['BEGIN;']);
        await transaction('item').select('id');
        expect(asked).to.deep.equal(['BEGIN;', 'select "id" from "item"']);
      },
    },
  ];

  const OTHERS: readonly Part[] = [
    {
      name: 'objection: a Proxy of a Knex transaction works as the transaction',
      file: 'runtime/session/session.ts',
      uses: 'new Proxy(transaction',
      check: async () => {
        class Item extends Model {
          static override tableName = 'item';
        }
        const transaction = await knex.transaction();
        const session = new Proxy(transaction, { get: (target, name) => Reflect.get(target, name, target) });
        await session.raw('create table item (id int)');
        await Item.query(session).insert({ id: 1 } as object);
        expect(await Item.bindKnex(session).query().resultSize()).to.equal(1);
        await transaction.rollback();
      },
    },
    {
      name: 'cosmiconfig: dist/Explorer.js searches with given loaders, and runs no file',
      file: 'runtime/config/find.ts',
      uses: "import('cosmiconfig/dist/Explorer.js')",
      check: async () => {
        const { Explorer } = await import(EXPLORER);
        const throwing = 'throw new Error("was run")';
        await using project = await createProject({
          'etl.config.js': throwing,
          '.config/config.js': throwing,
        });
        const loader = (file: string): string => file;
        const explorer = new Explorer({
          moduleName: 'etl',
          searchPlaces: ['etl.config.ts', 'etl.config.js'],
          searchStrategy: 'project',
          ignoreEmptySearchPlaces: false,
          cache: false,
          metaConfigFilePath: null,
          mergeImportArrays: true,
          mergeSearchPlaces: false,
          transform: (result: unknown) => result,
          loaders: { default: loader, noExt: loader },
        });
        const { filepath } = await explorer.search(project.directory);
        expect(filepath).to.equal(join(project.directory, 'etl.config.js'));
      },
    },
    {
      name: 'cosmiconfig: the error of its YAML loader has a reason and a mark',
      file: 'runtime/config/data.ts',
      uses: "import('cosmiconfig')",
      check: async () => {
        const { defaultLoaders } = await import('cosmiconfig');
        const load = (): unknown => defaultLoaders['.yaml']('.etlrc', 'a: 1\nb: [');
        expect(load).to.throw().that.has.property('reason').that.is.a('string');
        expect(load).to.throw().that.has.nested.property('mark.line').that.is.a('number');
      },
    },
  ];

  for (const [library, parts] of Object.entries({ pg: PG, knex: KNEX, others: OTHERS })) {
    for (const { name, file, uses, check } of parts) {
      it(library === 'others' ? name : `${library}: ${name}`, async () => {
        await check();
        expect(await readFile(join(ROOT, 'src', file), 'utf8'), `${file} uses the part`).to.include(uses);
      });
    }
  }
});
