import { expect } from 'chai';
import fc from 'fast-check';
import { Client } from 'pg';
import { inlineBoundValues } from '../../../../src/runtime/copy/inline-values.js';
import { TaskConnection } from '../../../../src/runtime/postgres/task-connection.js';
import { createDatabase, type TestDatabase } from '../../../support/database.js';

describe('values that are inlined into the query of an unload', () => {
  let db: TestDatabase;
  let client: Client;
  let taskConnection: TaskConnection;
  before(async () => {
    db = await createDatabase();
    client = new Client(db.url);
    await client.connect();
    await client.query('begin');
    taskConnection = new TaskConnection(client as never, 'db');
    taskConnection.open();
  });
  after(async () => {
    taskConnection.detach();
    await client.end();
    await db.drop();
  });

  /** Runs the query with inlined values and with bound values. Returns both results. */
  async function runBoth(text: string, values: readonly unknown[]): Promise<readonly [unknown, unknown]> {
    const inlined = await client.query(await inlineBoundValues(taskConnection, { text, values }));
    const bound = await client.query(text, [...values]);
    return [inlined.rows, bound.rows];
  }

  // Character sequences that could end a text, a comment or a query, mixed with random characters.
  const hostile = fc
    .array(
      fc.oneof(
        fc.constantFrom(
          "'",
          "''",
          '\\',
          "\\'",
          '"',
          '$1',
          '$$',
          '--',
          '/*',
          '*/',
          ';',
          ')',
          '\n',
          '\r',
          "E'",
          'é',
          '\u{1f600}',
        ),
        fc.string({ unit: 'binary' }),
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join('').replaceAll('\0', ''));

  for (const conforming of ['on', 'off']) {
    it(`come out unchanged, whatever characters they hold, with standard_conforming_strings ${conforming}`, async () => {
      await client.query(`set standard_conforming_strings = ${conforming}; set escape_string_warning = off`);
      await fc.assert(
        fc.asyncProperty(hostile, hostile, async (a, b) => {
          const text = 'select $1::text as a, $2 as b, $1||$2 as c /* $1 */ -- $2';
          const [inlined, bound] = await runBoth(text, [a, b]);
          expect(inlined).to.deep.equal(bound);
          expect(inlined).to.deep.equal([{ a, b, c: a + b }]);
        }),
        { numRuns: 150 },
      );
    });
  }

  const typed: readonly [title: string, text: string, values: readonly unknown[]][] = [
    ['NULL', 'select $1::int as a', [null]],
    ['undefined', 'select $1::int as a', [undefined]],
    ['numbers', 'select $1 + 1 as a, n from generate_series(1, 5) n where n > $1 limit $2', [2, 1]],
    ['a negative number', 'select 5 -$1::int as a', [-3]],
    ['a bigint', 'select $1::int8 as a', [9_223_372_036_854_775_807n]],
    ['true', 'select 1 as a where $1', [true]],
    ['a date', 'select $1::timestamptz as a', [new Date('2026-01-02T03:04:05.678Z')]],
    ['bytes', 'select $1::bytea as a', [Buffer.from([0, 255, 39, 92])]],
    ['an array', 'select n from generate_series(1, 5) n where n = any($1)', [[2, 4]]],
    ['an array of texts', 'select unnest($1::text[]) as a', [["a'b", 'c"d', 'e\\f', null]]],
    ['an object', `select $1::jsonb as a`, [{ "it's": ['\\', 1] }]],
    ['a `$1` in quotes, which is no parameter', `select '$1' as a, $1 as b, $q$$1$q$ as c`, ['x']],
    ['one parameter used twice', 'select $1::int as a, $1::int as b', [1]],
    ['a parameter between constants', `select 'a' as x\n, $1 as y\n, 'b' as z`, ["it's"]],
  ];
  for (const [title, text, values] of typed) {
    it(`give the same result as bound values: ${title}`, async () => {
      const [inlined, bound] = await runBoth(text, values);
      expect(inlined).to.deep.equal(bound);
    });
  }

  it('can not hold a NUL character, like bound values', async () => {
    const error = await inlineBoundValues(taskConnection, { text: 'select $1', values: ['a\0b'] }).then(
      String,
      (e: unknown) => e,
    );
    expect(error).to.include({ code: '22021' });
  });
});
