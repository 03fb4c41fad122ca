import { expect } from 'chai';
import fc from 'fast-check';
import pg from 'pg';
import { copyInto } from '../../../src/runtime/copy/copy-in.js';
import { copyOut } from '../../../src/runtime/copy/copy-out.js';
import { getColumn } from '../../../src/runtime/copy/columns.js';
import { createBulkSession } from '../../../src/runtime/session/session-copy.js';
import type { ProtocolClient } from '../../../src/runtime/postgres/protocol.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { tableOfValues } from '../values.js';
import { openTransaction, unstopped, type OpenTransaction } from './on-wire.js';

/** No way of reading or writing changes a value. */
describe('a value of any type', () => {
  const zone = process.env['TZ'];
  let db: TestDatabase;
  let on: OpenTransaction;
  before(async () => {
    db = await createDatabase();
    await db.query(tableOfValues('v'));
  });
  after(() => db.drop());
  afterEach(async () => {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
    await on[Symbol.asyncDispose]();
  });

  const all = async <T>(rows: AsyncIterable<T>) => {
    const list: T[] = [];
    for await (const row of rows) list.push(row);
    return list;
  };

  for (const name of ['UTC', 'America/New_York', 'Asia/Kolkata', 'Pacific/Apia']) {
    describe(`in the timezone ${name}`, () => {
      beforeEach(async () => {
        process.env['TZ'] = name;
        on = await openTransaction(db.url, `begin; set local timezone to '${name}'`);
      });
      const bulk = () => createBulkSession(on.taskConnection, on.client as unknown as ProtocolClient);

      it('is read as pg reads it', async () => {
        const { rows } = await on.client.query('select * from v');
        expect(await all(bulk().rows('select * from v'))).to.deep.equal(rows);
      });

      it('is read as the text of the server with `text: true`', async () => {
        const types = { getTypeParser: () => String } as unknown as pg.CustomTypesConfig;
        const { rows } = await on.client.query({ text: 'select * from v', types });
        expect(await all(bulk().rows('select * from v', { text: true }))).to.deep.equal(rows);
      });

      for (const format of ['text', 'csv', 'binary']) {
        it(`does not change in a COPY out and in, in the format ${format}`, async () => {
          await on.ask('create temp table w (like v) on commit drop');
          const bytes = copyOut(on.taskConnection, `copy v to stdout (format ${format})`, {
            signal: unstopped,
          });
          const parts = await all(bytes);
          expect(
            await copyInto(on.taskConnection, `copy w from stdin (format ${format})`, parts, {
              signal: unstopped,
            }),
          ).to.equal(2);
          expect(
            await on.ask(
              'select count(*)::int from v where not exists (select from w where w::text = v::text)',
            ),
          ).to.equal(0);
        });
      }
    });
  }

  describe('read in place from the bytes of a row', () => {
    const parserOf = (oid: number) => pg.types.getTypeParser(oid) as (text: string) => unknown;
    /** Reads a text that is between other bytes, as in a row. */
    const read = (oid: number, text: string) =>
      getColumn(oid, parserOf(oid)).readInPlace?.(Buffer.from(`12${text}34`), 2, text.length);
    beforeEach(async () => {
      on = await openTransaction(db.url);
    });

    it('is the same date as pg reads, in every timezone of the server', async () => {
      const zones = fc.constantFrom(
        'UTC',
        'America/New_York',
        'Asia/Kolkata',
        'Pacific/Apia',
        'America/St_Johns',
      );
      const seconds = fc.oneof(
        fc.double({ min: 0, max: 4e9, noNaN: true }),
        fc.double({ min: -6e10, max: 2e11, noNaN: true }),
      );
      await fc.assert(
        fc.asyncProperty(zones, fc.array(seconds, { minLength: 50, maxLength: 50 }), async (name, list) => {
          const texts = (await on.ask(
            `with z as (select set_config('TimeZone', '${name}', true)) select json_agg(to_timestamp(s)::text) from z, unnest('{${list.join()}}'::float8[]) s`,
          )) as string[];
          expect(texts.map((text) => read(1184, text))).to.deep.equal(texts.map(parserOf(1184)));
        }),
        { numRuns: 30 },
      );
    });

    it('is the same number as pg reads', () => {
      const int4 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
      fc.assert(
        fc.property(int4, (number) => {
          expect(read(23, String(number))).to.equal(number);
        }),
      );
      expect([-32768, 0, 32767].map((number) => read(21, String(number)))).to.deep.equal([-32768, 0, 32767]);
    });

    it('is not used if the user has set another parser', () => {
      const own = (text: string) => `own ${text}`;
      for (const oid of [20, 21, 23, 1184, 1700]) expect(getColumn(oid, own)).to.deep.equal({ parse: own });
      const seconds = (text: string) => new Date(Math.trunc(Date.parse(text) / 1000) * 1000);
      expect(getColumn(1184, seconds)).to.deep.equal({ parse: seconds });
      for (const [oid, parse] of [
        [20, BigInt],
        [20, Number],
        [23, String],
        [1700, Number],
      ] as const) {
        expect(getColumn(oid, parse)).to.deep.equal({ parse });
      }
    });

    it('is not used for other types', () => {
      expect(getColumn(25, String)).to.deep.equal({ parse: String });
      expect(getColumn(20, parserOf(20))).to.deep.equal({});
    });
  });
});
