import { expect } from 'chai';
import { EtlError } from '../../../src/errors.js';
import { dag, type DagBuilder } from '../../../src/runtime/dag/dag.js';

describe('the definition of a Dag', () => {
  const task = (d: DagBuilder<never, never>): unknown => d.task('a', {}, async () => null);
  const undefinable: readonly { title: string; define: unknown; what: RegExp; code: string }[] = [
    { title: 'no definition', define: undefined, what: /"d" has no definition/, code: 'ETL-2303' },
    {
      title: 'a definition that is no function',
      define: [],
      what: /"d" has no definition/,
      code: 'ETL-2303',
    },
    { title: 'an empty definition', define: () => {}, what: /"d" has no tasks/, code: 'ETL-2309' },
    {
      title: 'a loop over an empty list',
      define: (d: never) => [].forEach(() => task(d)),
      what: /"d" has no tasks/,
      code: 'ETL-2309',
    },
    {
      title: 'a generator, which nobody runs',
      define: function* (d: never) {
        yield task(d);
      },
      what: /"d" has no tasks/,
      code: 'ETL-2309',
    },
    {
      title: 'an async definition',
      define: async (d: never) => {
        await Promise.resolve();
        task(d);
      },
      what: /the definition of the Dag "d" is async/,
      code: 'ETL-2308',
    },
    {
      title: 'an async definition that adds its tasks before the first await',
      define: async (d: never) => {
        task(d);
        await Promise.resolve();
      },
      what: /is async/,
      code: 'ETL-2308',
    },
    {
      title: 'a definition that returns a promise',
      define: (d: never) => Promise.resolve(task(d)),
      what: /is async/,
      code: 'ETL-2308',
    },
    {
      title: 'a definition that returns a thenable, such as a query of Knex',
      define: (d: never) => {
        task(d);
        return Object.assign(() => null, {
          // oxlint-disable-next-line unicorn/no-thenable -- a query of Knex has this method, which sends the query
          then: () => {
            throw new Error('the query was sent');
          },
        });
      },
      what: /is async/,
      code: 'ETL-2308',
    },
  ];
  for (const { title, define, what, code } of undefinable) {
    it(`refuses ${title} and names the location`, async () => {
      expect(() => dag('d', {}, define as never))
        .to.throw(EtlError, what)
        .that.includes({ code, exitCode: 2 })
        .and.has.property('where')
        .that.matches(/definition\.test\.ts:\d+:\d+/);
      // What the definition does later is no unhandled rejection: mocha would fail this test.
      await new Promise((resolve) => setImmediate(resolve));
    });
  }

  const wrong = (value: unknown): never => value as never;
  const options: readonly [title: string, add: (d: DagBuilder<object, unknown>) => void, what: RegExp][] = [
    [
      '`needs` that is undefined',
      (d) => d.sql('b', { needs: wrong(undefined), sql: 'select 1' }),
      /`needs`.*got undefined/,
    ],
    ['`needs` that is null', (d) => d.sql('b', { needs: wrong(null), sql: 'select 1' }), /`needs`.*got null/],
    [
      '`needs` that is a Map',
      (d) => d.sql('b', { needs: wrong(new Map()), sql: 'select 1' }),
      /`needs`.*got a Map/,
    ],
    [
      '`needs` that is a Set',
      (d) => d.sql('b', { needs: wrong(new Set()), sql: 'select 1' }),
      /`needs`.*got a Set/,
    ],
    [
      '`needs` that is a promise',
      (d) => d.sql('b', { needs: wrong(Promise.resolve([])), sql: 'select 1' }),
      /`needs`.*got a Promise/,
    ],
    [
      '`needs` that is a task and no list',
      (d) => d.sql('b', { needs: wrong(task(wrong(d))), sql: 'select 1' }),
      /`needs`.*array of tasks/,
    ],
    [
      'undefined in a list of needs',
      (d) => d.sql('b', { needs: [wrong(undefined)], sql: 'select 1' }),
      /"b" needs `needs\[0\]`, which is undefined and not a task/,
    ],
    [
      'null in a list of needs',
      (d) => d.sql('b', { needs: [wrong(null)], sql: 'select 1' }),
      /which is null and not a task/,
    ],
    [
      'a hole in a list of needs',
      (d) => d.sql('b', { needs: Array.from({ length: 2, 0: task(wrong(d)) }) as never, sql: 'select 1' }),
      /`needs\[1\]`, which is undefined/,
    ],
    [
      'an ID in a list of needs',
      (d) => d.sql('b', { needs: [wrong('a')], sql: 'select 1' }),
      /which is "a" \(string\) and not a task/,
    ],
    [
      'undefined in an object of needs',
      (d) => d.sql('b', { needs: { rows: wrong(undefined) }, sql: 'select 1' }),
      /"b" needs "rows", which is undefined and not a task/,
    ],
    [
      'a list in an object of needs',
      (d) => d.sql('b', { needs: { rows: wrong([]) }, sql: 'select 1' }),
      /"rows", which is an Array and not a task/,
    ],
    [
      'a copy of a task in needs',
      (d) => d.sql('b', { needs: [wrong({ ...(task(wrong(d)) as object) })], sql: 'select 1' }),
      /not a task/,
    ],
    [
      '`conn` that is undefined',
      (d) => d.sql('b', { conn: wrong(undefined), sql: 'select 1' }),
      /`conn`.*got undefined/,
    ],
    ['`sql` that is undefined', (d) => d.sql('b', { sql: wrong(undefined) }), /either `sql` or `file`/],
    ['`sql` that is null', (d) => d.sql('b', { sql: wrong(null) }), /`sql`.*got null/],
    ['`sql` that is empty', (d) => d.sql('b', { sql: '' }), /`sql`.*got ""/],
    ['a list of no statements', (d) => d.sql('b', { sql: [] }), /at least one statement/],
    [
      'undefined in a list of statements',
      (d) => d.sql('b', { sql: ['select 1', wrong(undefined)] }),
      /expected `sql` to be SQL/,
    ],
    [
      'a statement without a text',
      (d) => d.sql('b', { sql: { text: wrong(undefined) } }),
      /expected `sql` to be SQL/,
    ],
    ['`file` that is undefined', (d) => d.sql('b', { file: wrong(undefined) }), /either `sql` or `file`/],
    [
      'a check without SQL',
      (d) => d.sql('b', { sql: 'select 1', checks: [{ name: 'x', sql: wrong(undefined) }] }),
      /an object with `sql`/,
    ],
    [
      'undefined in a list of checks',
      (d) => d.sql('b', { sql: 'select 1', checks: [wrong(undefined)] }),
      /`checks`/,
    ],
    [
      'undefined in `reads`',
      (d) => d.session('b', { reads: [wrong(undefined)] }, async () => null),
      /`reads`/,
    ],
    [
      '`into` that is undefined',
      (d) => d.load('b', { from: 'a.csv', into: wrong(undefined), mode: 'append' }),
      /needs `into`/,
    ],
    [
      '`from` that is undefined',
      (d) => d.load('b', { from: wrong(undefined), into: 't', mode: 'append' }),
      /needs `from`/,
    ],
    [
      '`from` that is null',
      (d) => d.load('b', { from: wrong(null), into: 't', mode: 'append' }),
      /`from`.*got null/,
    ],
    [
      '`from` that is an object',
      (d) => d.load('b', { from: wrong({}), into: 't', mode: 'append' }),
      /`from`/,
    ],
    [
      'undefined in a list of files',
      (d) => d.load('b', { from: ['a.csv', wrong(undefined)], into: 't', mode: 'append' }),
      /`from`/,
    ],
    [
      '`mode` that is undefined',
      (d) => d.load('b', { from: 'a.csv', into: 't', mode: wrong(undefined) }),
      /needs `mode`/,
    ],
    [
      'undefined in `key`',
      (d) => d.load('b', { from: 'a.csv', into: 't', mode: 'merge', key: [wrong(undefined)] }),
      /`key`/,
    ],
    [
      '`rejects` without a place',
      (d) => d.load('b', { from: 'a.csv', into: 't', mode: 'append', rejects: wrong({ max: 1 }) }),
      /an object with `to`/,
    ],
    ['`to` that is undefined', (d) => d.unload('b', { table: 't', to: wrong(undefined) }), /needs `to`/],
    [
      '`table` that is undefined',
      (d) => d.unload('b', { table: wrong(undefined), to: 'a.csv' }),
      /either `query` or `table`/,
    ],
    ['`query` that is null', (d) => d.unload('b', { query: wrong(null), to: 'a.csv' }), /`query`.*got null/],
    [
      'a partition without a size',
      (d) => d.unload('b', { table: 't', to: 'a.csv', partition: wrong({ rows: undefined }) }),
      /either `rows`, `bytes` or `by`/,
    ],
    [
      '`from` of a transfer that is undefined',
      (d) => d.transfer('b', { from: wrong(undefined), table: 't', into: 't', mode: 'append' }),
      /needs `from`/,
    ],
    [
      'a `query` that is a number',
      (d) => d.transfer('b', { from: 'c', query: wrong(1), into: 't', mode: 'append' }),
      /`query`.*got 1/,
    ],
    [
      'options that are undefined',
      (d) => d.load('b', wrong(undefined)),
      /options of a load task must be an object, got undefined/,
    ],
    [
      'options that are null',
      (d) => d.sql('b', wrong(null)),
      /options of a sql task must be an object, got null/,
    ],
    [
      'a function instead of options',
      (d) =>
        d.session(
          'b',
          wrong(async () => null),
          async () => null,
        ),
      /must be an object, got a function/,
    ],
  ];
  for (const [title, add, what] of options) {
    it(`refuses ${title} and names the location`, () => {
      expect(() => dag('d', {}, (d) => add(d as never)))
        .to.throw(EtlError, what)
        .that.satisfies(
          ({ code, exitCode }: EtlError) => ['ETL-2302', 'ETL-2303'].includes(code) && exitCode === 2,
        )
        .and.has.property('where')
        .that.matches(/definition\.test\.ts:\d+:\d+/);
    });
  }

  it('refuses options and defaults of a Dag that are no object', () => {
    for (const value of [undefined, null, [], new Map()])
      expect(() => dag('d', wrong(value), (d) => void task(wrong(d)))).to.throw(
        EtlError,
        'options of a Dag must be',
      );
    expect(() => dag('d', { defaults: { conn: wrong(undefined) } }, (d) => void task(wrong(d)))).to.throw(
      EtlError,
      'expected `defaults.conn` to be a text that is not empty, got undefined',
    );
  });

  it('refuses two loads with one file for rejected rows, however it is written', () => {
    const define = (first: string, second: string) => () =>
      dag('d', { defaults: { conn: 'db' } }, (d) => {
        for (const [id, to] of Object.entries({ first, second }))
          d.load(id, { from: `${id}.csv`, into: id, mode: 'append', rejects: { max: 1, to } });
      });
    for (const other of ['r.ndjson', './r.ndjson', 'x/../r.ndjson'])
      expect(define('r.ndjson', other)).to.throw(
        /"first" and "second" write their rejected rows to the same file/,
      );
    expect(define('r.ndjson', 'x/r.ndjson')).to.not.throw();
    expect(define('staging.rejects', 'staging.rejects')).to.not.throw();
  });
});

/** The compiler checks this code: `npm run lint` fails if one of the expected errors is missing. */
export function types(): void {
  // @ts-expect-error an async definition, whose tasks after the first await would be lost
  dag('async', {}, async (d) => {
    d.task('a', {}, async () => null);
  });
  // @ts-expect-error a definition that returns a promise
  dag('promise', {}, (d) => Promise.resolve(d.task('a', {}, async () => null)));
  // @ts-expect-error a definition that may return a promise
  dag('maybe', {}, (d) => (Math.random() > 2 ? Promise.resolve(1) : d.task('a', {}, async () => null)));
  // A definition may return anything else.
  dag('handle', {}, (d) => d.task('a', {}, async () => null));
  dag('handles', {}, (d) => ['a', 'b'].map((id) => d.task(id, {}, async () => null)));
  dag('nothing', {}, (d): void => void d.task('a', {}, async () => null));
}
