import { expect } from 'chai';
import pg from 'pg';
import { chooseEncoder } from '../../../src/runtime/copy/encode.js';
import { copyInto } from '../../../src/runtime/copy/copy-in.js';
import type { ProtocolClient } from '../../../src/runtime/postgres/protocol.js';
import { describeTable } from '../../../src/runtime/table/describe.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { unstopped } from './on-wire.js';

/** Times at which a local time is special: clock changes, a day that a zone left out, a year of five digits. */
const DATES = [
  new Date(2026, 4, 1),
  new Date(2026, 4, 1, 10, 30, 15, 123),
  new Date(2026, 2, 29, 2, 30),
  new Date(2026, 9, 25, 2, 30),
  new Date(0),
  new Date(-1),
  new Date(12026, 0, 1),
  new Date(Date.UTC(2011, 11, 30, 9, 59)),
];
/** In some zones these offsets have seconds, which pg leaves out. So only types without an offset are compared. */
const OLD_DATES = [
  new Date(Date.UTC(1972, 0, 6, 12)),
  new Date(1890, 0, 1, 12),
  new Date('-000043-03-15T12:00:00Z'),
  new Date(Date.UTC(1, 0, 1)),
];
const TIMES = ['date', 'timestamp', 'day', 'moment'];
const INSTANTS = ['timestamptz', 'instant'];

/** A type and the values that pg sends as a parameter. `day` and `moment` are domains. */
const CASES: readonly (readonly [type: string, values: readonly unknown[]])[] = [
  ...[...TIMES, ...INSTANTS, 'text', 'varchar'].map((type) => [type, DATES] as const),
  ...TIMES.map((type) => [type, OLD_DATES] as const),
  ...[...TIMES, ...INSTANTS].map((type) => [`${type}[]`, [DATES, [null], []]] as const),
  ['text', ['', 'a\\b\t"\n', 1.5, true, 12n, Buffer.from('bytes é'), new Uint8Array([0x41]), Number.NaN, { a: 1 }]],
  ['varchar(5)', ['ab', 1, Buffer.from('ab')]],
  ['char(5)', ['ab', Buffer.from('ab')]],
  ['bytea', [Buffer.from([0, 255]), new Uint8Array([1, 2]), Buffer.alloc(0), new DataView(new ArrayBuffer(2))]],
  ['bytea[]', [[Buffer.from([0, 92, 255]), new Uint8Array([1]), null]]],
  ['int4', [0, -1, 2147483647, '7', 7n]],
  ['int8', [9007199254740991, 2n ** 62n, '1']],
  ['numeric', [0.1, 1e21, 1e-7, 123n, '1.50', Number.NaN, Infinity, -Infinity]],
  ['float8', [0.1, 1e300, Number.NaN, Infinity, -Infinity, 5e-324]],
  ['float4', [0.1, 16777217, Number.NaN]],
  ['float8[]', [[0.1, Number.NaN, Infinity, null], [[1], [2]]]],
  ['boolean', [true, false, 'yes', '0']],
  ['boolean[]', [[true, false, null]]],
  ['text[]', [['a', 'NULL', '', 'q"\\', '{}', ',', null], [['a'], ['b']], [{ a: 1 }]]],
  ['date', [Infinity, -Infinity, '2026-01-31']],
  ['timestamptz', [Infinity, '2026-01-31 10:00+05']],
  ['uuid', ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']],
  ['interval', ['1 day 02:00:00', { toPostgres: () => '3 days' }]],
  ['jsonb', [{ a: [1, { b: null }] }, '{"a": 1}', '[]', 1, true, '"text"']],
  ['json', [{ a: [1, { b: 'x' }] }, 'null']],
  ['document', [{ a: 1 }]],
  ['jsonb[]', [[{ a: 1 }, { b: [1] }, null]]],
  ['inet', ['10.0.0.1/8']],
  ['int4range', ['[1,3)', 'empty']],
  ['tstzrange', ['[2026-01-01 00:00+00,)']],
  ['point', ['(1,2)']],
  ['mood', ['happy']],
]; // prettier-ignore

describe('a JavaScript value in a row', () => {
  const zone = process.env['TZ'];
  let db: TestDatabase;
  let client: pg.Client;
  before(async () => {
    db = await createDatabase();
    client = new pg.Client({ connectionString: db.url });
    await client.connect();
    await client.query(`
      create domain day as date; create domain instant as timestamptz; create domain document as jsonb;
      create domain narrow as timestamp; create domain moment as narrow; create type mood as enum ('happy');`);
  });
  afterEach(() => {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  });
  after(async () => {
    await client.end();
    await db.drop();
  });

  /** Copies the values into a new table `t`, and returns their texts. */
  async function copy(type: string, values: readonly unknown[]): Promise<readonly (string | null)[]> {
    await client.query(`drop table if exists t; create table t (n serial, v ${type})`);
    const table = await describeTable(client, 't');
    const encode = chooseEncoder([{ name: 'v', type: table?.columns.at(-1)?.value }]);
    const bytes = encode(values.map((v) => ({ v })));
    await copyInto(client as unknown as ProtocolClient, 'copy t (v) from stdin', [bytes], {
      signal: unstopped,
    });
    return readTexts();
  }

  /** Inserts the values as parameters of pg into a new table `t`, and returns their texts. */
  async function insert(type: string, values: readonly unknown[]): Promise<readonly (string | null)[]> {
    await client.query(`drop table if exists t; create table t (n serial, v ${type})`);
    for (const value of values) await client.query('insert into t (v) values ($1)', [value]);
    return readTexts();
  }

  async function readTexts(): Promise<readonly (string | null)[]> {
    const { rows } = await client.query<{ v: string | null }>('select v::text from t order by n');
    return rows.map(({ v }) => v);
  }

  for (const name of ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Pacific/Apia']) {
    it(`is stored by COPY as by pg's own parameter, in the timezone ${name}`, async () => {
      process.env['TZ'] = name;
      for (const [type, values] of CASES)
        expect(await copy(type, values), type).to.deep.equal(await insert(type, values));
    });
  }

  for (const name of [
    'Europe/Amsterdam',
    'Africa/Monrovia',
    'America/New_York',
    'Pacific/Apia',
    'Africa/Accra',
  ]) {
    it(`keeps its instant in a timestamptz in old times of ${name}, where the offset has seconds`, async () => {
      process.env['TZ'] = name;
      await copy('timestamptz', OLD_DATES);
      const { rows } = await client.query<{ ms: string }>(
        'select extract(epoch from v) * 1000 as ms from t order by n',
      );
      expect(rows.map(({ ms }) => Number(ms))).to.deep.equal(OLD_DATES.map((date) => date.getTime()));
    });
  }

  const read: readonly (readonly [type: string, text: string])[] = [
    ['point', '(1.5,-2)'],
    ['circle', '<(1,2),3.5>'],
    ['point[]', '{"(1.5,-2)","(0,0)"}'],
    ['box[]', '{(1,1),(0,0);(2,2),(1,1)}'],
    ['interval', '1 year 2 mons 3 days 04:05:06.789012'],
    ['interval[]', '{"3 days 04:05:06.789"}'],
    ['float8', '-0'],
    ['float8[]', '{-0,NULL,NaN}'],
    ['json', '"text"'],
    ['jsonb', '[1, "2", []]'],
    ['jsonb', '[]'],
    ['jsonb[]', '{"{\\"a\\": 1}","\\"text\\"",1}'],
    ['document', '[]'],
    ['bytea', '\\x00ff'],
    ['bytea[]', '{"\\\\x00ff"}'],
    ['date', '0044-03-15 BC'],
    ['timestamp', '0001-01-01 00:00:00'],
  ];
  for (const [type, text] of read) {
    it(`that pg has read from ${type} ${text} is written as it was`, async () => {
      const { rows } = await client.query<{ v: unknown }>(`select $1::${type} as v`, [text]);
      await client.query(`drop table if exists t; create table t (n serial, v ${type})`);
      const table = await describeTable(client, 't');
      const encode = chooseEncoder([{ name: 'v', type: table?.columns.at(-1)?.value }], {
        jsonStrings: 'value',
      });
      await copyInto(client as unknown as ProtocolClient, 'copy t (v) from stdin', [encode(rows)], {
        signal: unstopped,
      });
      expect(await readTexts()).to.deep.equal([text]);
    });
  }

  it('is the local time of day in a time and a timetz, if it is a Date', async () => {
    process.env['TZ'] = 'Asia/Kolkata';
    const date = new Date('2026-05-01T22:00:00.5Z');
    expect(await copy('time', [date])).to.deep.equal(['03:30:00.5']);
    expect(await copy('timetz[]', [[date]])).to.deep.equal(['{03:30:00.5+05:30}']);
  });

  it('is written in UTC if pg is set so', async () => {
    process.env['TZ'] = 'Asia/Tokyo';
    const encode = chooseEncoder([{ name: 'v' }], { usesUtcDates: true });
    expect(encode([{ v: new Date('2026-05-01T22:00:00Z') }]).toString()).to.equal(
      '2026-05-01T22:00:00.000+00:00\n',
    );
  });

  const refused: readonly (readonly [title: string, type: string, value: unknown])[] = [
    ['NaN in JSON', 'jsonb', { a: [Number.NaN] }],
    ['an infinite number as JSON', 'json', Infinity],
    ['an invalid date in JSON', 'jsonb', { at: new Date(Number.NaN) }],
    ['bytes in JSON', 'jsonb', { raw: Buffer.from('a') }],
    ['a typed array as JSON', 'jsonb', new Float64Array(2)],
    ['a promise', 'text', Promise.resolve(1)],
    ['an error', 'text', new Error('a')],
    ['a Map', 'text', new Map()],
    ['a Set in an array', 'text[]', [new Set()]],
    ['an invalid date in an array', 'date[]', [new Date(Number.NaN)]],
    ['bytes that are no text', 'text', Buffer.from([0xff])],
    ['an array in an array of json', 'jsonb[]', [[1]]],
    ['a symbol', 'text', Symbol('a')],
  ];
  for (const [title, type, value] of refused) {
    it(`is refused by the name of its column if it is ${title}`, async () => {
      const error: unknown = await copy(type, [value]).catch((reason: unknown) => reason);
      expect(error).to.include({ code: 'ETL-3558' });
      expect(String(error)).to.include('column "v"');
    });
  }
});
