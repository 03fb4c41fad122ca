import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { prepareParameters } from '../../../src/runtime/postgres/parameters.js';
import type { Session } from '../../../src/runtime/session/session.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

/** A class with its own text for PostgreSQL, as pg supports it. */
class Own {
  toPostgres(): string {
    return 'own';
  }
}

describe('the value of a parameter', () => {
  const zone = process.env['TZ'];
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (f float8, j jsonb, a timestamptz, d date, x text, l float8[], b bytea)');
  });
  beforeEach(() => db.query('truncate t'));
  afterEach(() => {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  });
  after(() => db.drop());

  /** Calls `use` in a session task. Returns the error of the task. */
  async function inTask(use: (session: Session) => Promise<unknown>) {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('t', {}, async ({ session }) => void (await use(session)));
    });
    return (await runOn({ db: db.url }, graph)).tasks[0]?.error;
  }

  /** The ways in which a session sends values. Knex itself writes an object of an insert by `JSON.stringify`. */
  const ways: readonly [title: string, send: (session: Session, column: string, value: unknown) => Promise<unknown>][] =
    [
      ['a Knex insert', async (session, column, value) => session('t').insert({ [column]: value })],
      ['session.raw', async (session, column, value) => session.raw(`insert into t (${column}) values (?)`, [value as never])],
      [
        'session.rows',
        async (session, column, value) => {
          const text = `insert into t (${column}) values ($1) returning 1`;
          for await (const _ of session.rows({ text, values: [value] }));
        },
      ],
    ]; // prettier-ignore

  for (const [title, send] of ways) {
    it(`is kept by ${title}: -0, an old time of a zone with seconds, digits of a bigint in JSON, bytes`, async () => {
      process.env['TZ'] = 'Europe/Amsterdam';
      const old = new Date('1890-01-01T12:00:00Z');
      const values: readonly (readonly [column: string, value: unknown, text: string])[] = [
        ['f', -0, '-0'],
        ['l', [-0, null, 1.5], '{-0,NULL,1.5}'],
        ['a', old, '1890-01-01 12:00:00+00'],
        ['d', new Date(1890, 0, 1), '1890-01-01'],
        [
          'j',
          title === 'a Knex insert' ? { n: 1 } : { n: 2n ** 64n },
          title === 'a Knex insert' ? '{"n": 1}' : '{"n": 18446744073709551616}',
        ],
        ['j', { s: 'a\\b', list: [1, null] }, '{"s": "a\\\\b", "list": [1, null]}'],
        ['x', new String('boxed'), 'boxed'],
        ['x', new Own(), 'own'],
        ['b', Buffer.from([0, 255]), '\\x00ff'],
        ['b', new Uint8Array([1]), '\\x01'],
      ];
      await db.query(`set TimeZone to 'UTC'`);
      for (const [column, value, text] of values) {
        await db.query('truncate t');
        expect(await inTask((session) => send(session, column, value))).to.equal(undefined);
        expect(await db.query(`select ${column}::text as v from t`), text).to.deep.equal([{ v: text }]);
      }
    });

    const refused: readonly [what: string, column: string, value: unknown][] = [
      ['NaN in JSON', 'j', { a: Number.NaN }],
      ['an invalid date', 'a', new Date(Number.NaN)],
      ['a Map', 'j', new Map([[1, 2]])],
      ['a promise', 'x', Promise.resolve('a')],
      ['a symbol', 'x', Symbol('a')],
      ['half of a surrogate pair', 'x', 'a\ud800'],
      ['half of a surrogate pair in an array', 'x', ['\ud800']],
    ];
    for (const [what, column, value] of refused) {
      if (title === 'a Knex insert' && what === 'NaN in JSON') continue;
      it(`is refused by ${title}, and not sent, if it is ${what}`, async () => {
        const error = await inTask((session) => send(session, column, value));
        expect(`${error?.code} ${error?.message} ${String(error?.cause)}`).to.include('ETL-3020');
        expect(await db.query('select 1 from t')).to.deep.equal([]);
      });
    }
  }

  it('is not copied if pg sends all values unchanged', () => {
    const values = [1, 'a', null, undefined, true, 1n, Buffer.from('a')];
    expect(prepareParameters(values, false)).to.equal(values);
  });
});
