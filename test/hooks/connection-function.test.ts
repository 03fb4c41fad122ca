import { expect } from 'chai';
import { inspect } from 'node:util';
import { EtlError } from '../../src/errors.js';
import type { ConnectionFunction } from '../../src/hooks/connection-function.js';
import { formatDsn } from '../../src/hooks/connection.js';
import { createLookup, type ConnectionSetting, type Lookup } from '../../src/hooks/lookup.js';
import { secrets } from '../../src/runtime/secrets/secrets.js';
import { CONNECTION_FUNCTION_MS } from '../../src/runtime/waiting.js';
import { holdTimers } from '../support/held-timers.js';

function createTestLookup(
  shop: ConnectionSetting,
  { flags = {}, variables = {} }: { flags?: Record<string, string>; variables?: Record<string, string> } = {},
): Lookup {
  const sources = new Map(Object.keys(variables).map((name) => [name, 'environment']));
  const environment = { variables, sources, notices: [] };
  return createLookup({ flags, environment, config: { shop }, configName: 'etl.config.ts' });
}

async function failure(shop: ConnectionSetting): Promise<EtlError> {
  const error: unknown = await createTestLookup(shop)
    .load('shop')
    .catch((reason: unknown) => reason);
  expect(error).to.be.instanceOf(EtlError);
  return error as EtlError;
}

describe('a connection that a function of the config returns', () => {
  const rows: readonly [title: string, value: Awaited<ReturnType<ConnectionFunction>>, dsn: string][] = [
    ['a URI', 'postgres://etl:fn-S3CRET-a@db/shop', 'postgres://etl:***@db/shop'],
    ['key words', "host=db dbname=shop user=etl password='fn-S3CRET b'", 'postgres://etl:***@db/shop'],
    ["Airflow's JSON", '{"conn_type":"postgres","host":"db","password":"fn-S3CRET-c"}', 'postgres://:***@db'],
    [
      'parameters of libpq',
      { host: 'db', port: 5433, dbname: 'shop', user: 'etl', password: 'fn-S3CRET:/@d', sslmode: 'require' },
      'postgres://etl:***@db:5433/shop?sslmode=require',
    ],
    [
      'the names of pg',
      { host: 'db', database: 'shop', user: 'etl', password: 'fn-S3CRET-e', port: undefined, options: null },
      'postgres://etl:***@db/shop',
    ],
    [
      'a secret of RDS',
      {
        engine: 'postgres',
        host: 'db',
        port: '5432',
        username: 'etl',
        password: 'fn-S3CRET-f',
        dbname: 'shop',
        dbInstanceIdentifier: 'shop-1',
      },
      'postgres://etl:***@db:5432/shop',
    ],
    ['an object with a URI', { url: 'postgres://etl:fn-S3CRET-g@db/shop' }, 'postgres://etl:***@db/shop'],
    [
      'several hosts',
      {
        host: 'a,b',
        port: '1,2',
        target_session_attrs: 'primary',
        keepalives: false,
        password: 'fn-S3CRET-h',
      },
      'postgres://:***@a,b/?port=1%2C2&target_session_attrs=primary&keepalives=0',
    ],
    [
      'a password beside extras',
      { host: 'db', password: 'fn-S3CRET-i', sslpassword: 'fn-S3CRET-j' },
      'postgres://:***@db/?sslpassword=***',
    ],
  ];
  for (const [title, value, dsn] of rows) {
    it(`can be ${title}, and its secrets are masked`, async () => {
      const lookup = createTestLookup(async () => value);
      const connection = await lookup.load('shop');
      expect(formatDsn(connection)).to.equal(dsn);
      expect([connection.id, connection.definedBy]).to.deep.equal([
        'shop',
        'connections.shop in etl.config.ts',
      ]);
      expect(lookup.find('shop')).to.equal(connection);
      const { password = '' } = connection;
      expect(password).to.include('fn-S3CRET');
      expect(secrets.mask(`it is ${password}, ${encodeURIComponent(password)}`)).not.to.include('S3CRET');
      expect(secrets.mask(String(connection.extra['sslpassword']))).not.to.include('S3CRET');
      expect(inspect(connection)).not.to.include(password);
    });
  }

  const malformed: readonly [value: unknown, why: RegExp][] = [
    [undefined, /is undefined/],
    [null, /is null/],
    [5432, /is a number/],
    [['postgres://h'], /is an array/],
    [{}, /has no parameter/],
    [{ password: { text: 'fn-S3CRET' } }, /has a parameter that is an object/],
    [{ password: 'fn-S3CRET\0' }, /NUL/],
    [{ url: 'mysql//fn-S3CRET' }, /scheme/],
    ['fn-S3CRET', /scheme/],
    ['', /empty/],
  ];
  for (const [value, why] of malformed) {
    it(`is refused if the function returns ${JSON.stringify(value) ?? 'undefined'}`, async () => {
      const error = await failure((() => value) as ConnectionFunction);
      expect(error.code).to.equal('ETL-2201');
      expect(error.where).to.match(/^connections\.shop in etl\.config\.ts/);
      expect(error.why).to.match(why);
      expect(inspect(error, { showHidden: true })).not.to.include('S3CRET');
    });
  }

  it('is asked for once, with its ID, however often it is used', async () => {
    const asked: string[] = [];
    const lookup = createTestLookup({
      url: async ({ id, signal }) => {
        asked.push(`${id} ${signal.aborted}`);
        return 'postgres://db/shop';
      },
      concurrency: 2,
    });
    const found = await Promise.all([lookup.load('shop'), lookup.load('SHOP'), lookup.load('shop')]);
    expect(asked).to.deep.equal(['shop false']);
    expect(new Set([...found, lookup.find('shop')]).size).to.equal(1);
  });

  it('is not asked for by a listing, or if a flag or a variable defines the connection', async () => {
    const call: ConnectionFunction = () => expect.fail('the function was called');
    const lookup = createTestLookup(call);
    expect(lookup.ids()).to.deep.equal(['shop']);
    expect(lookup.list()).to.deep.equal([
      { id: 'shop', source: 'connections.shop in etl.config.ts', place: '(function)' },
    ]);
    for (const given of [
      { flags: { shop: 'postgres://flag' } },
      { variables: { ETL_CONN_SHOP: 'postgres://variable' } },
      { variables: { AIRFLOW_CONN_SHOP: 'postgres://variable' } },
    ])
      expect((await createTestLookup(call, given).load('shop')).host).to.be.oneOf(['flag', 'variable']);
  });

  it('fails with ETL-2216 if the function throws or rejects, and the function is not called again', async () => {
    let calls = 0;
    const fail = (): never => {
      calls++;
      throw new Error('the manager is sealed');
    };
    for (const call of [fail, async () => fail()]) {
      calls = 0;
      const lookup = createTestLookup(call);
      for (let time = 0; time < 2; time++) {
        const error: unknown = await lookup.load('shop').catch((reason: unknown) => reason);
        expect(error).to.include({ code: 'ETL-2216', why: 'the manager is sealed' });
        expect(error).to.have.property('where', 'connections.shop in etl.config.ts');
      }
      expect(calls).to.equal(1);
    }
  });

  it('fails with ETL-2217 and aborts the signal if the function gives no result', async () => {
    using timers = holdTimers(CONNECTION_FUNCTION_MS);
    let stopped: AbortSignal | undefined;
    const failed = failure(({ signal }) => {
      stopped = signal;
      return new Promise(() => undefined);
    });
    (await timers.next())();
    const error = await failed;
    expect([error.code, error.exitCode, stopped?.aborted]).to.deep.equal(['ETL-2217', 2, true]);
    expect(error.message).to.equal('the function of connection "shop" gave no result in 30 seconds');
  });
});
