import { expect } from 'chai';
import fc from 'fast-check';
import { copyOut } from '../../../src/runtime/copy/copy-out.js';
import { Frames } from '../../../src/runtime/copy/frames.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { failureOf, openTransaction, unstopped, type OpenTransaction } from './on-wire.js';

describe('COPY out of a query', () => {
  let db: TestDatabase;
  let on: OpenTransaction;
  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());
  beforeEach(async () => {
    on = await openTransaction(db.url);
  });
  afterEach(() => on[Symbol.asyncDispose]());

  const series = (rows: number, text = `repeat('x', 100)`) =>
    `copy (select i, ${text} from generate_series(1, ${rows}) i) to stdout`;
  const read = async (parts: AsyncIterable<Buffer>) => {
    const all: Buffer[] = [];
    for await (const part of parts) all.push(part);
    return Buffer.concat(all);
  };

  for (const rows of [0, 1, 1000, 200_000]) {
    it(`returns the bytes of ${rows} rows, and their number`, async () => {
      let moved = 0;
      const out = copyOut(on.taskConnection, series(rows), {
        signal: unstopped,
        moved: (bytes) => (moved += bytes),
      });
      const bytes = await read(out);
      const expected = Array.from({ length: rows }, (_, i) => `${i + 1}\t${'x'.repeat(100)}\n`).join('');
      expect(bytes.equals(Buffer.from(expected))).to.equal(true);
      expect([out.rows, moved]).to.deep.equal([rows, bytes.length]);
      expect(await on.ask('select 1')).to.equal(1);
    });
  }

  it('returns rows that are larger than a part', async () => {
    const bytes = await read(
      copyOut(on.taskConnection, series(3, `repeat('y', 3000000)`), { signal: unstopped }),
    );
    expect(bytes.length).to.equal(3 * 3_000_003);
  });

  it('makes the server wait while nobody reads', async () => {
    const parts = copyOut(on.taskConnection, series(2_000_000), { signal: unstopped })[
      Symbol.asyncIterator
    ]();
    await parts.next();
    const { pid } = (
      await db.query<{ pid: number }>(
        `select pid from pg_stat_activity where query like 'copy (select i%' and datname = current_database()`,
      )
    )[0] ?? { pid: 0 };
    await db.query(`do $$ begin
      while not exists (select from pg_stat_activity where pid = ${pid} and wait_event = 'ClientWrite') loop
        perform pg_sleep(0.01); perform pg_stat_clear_snapshot(); end loop; end $$`);
    expect(on.client.connection.stream.isPaused()).to.equal(true);
    await parts.return?.();
  });

  it('works on two connections at the same time', async () => {
    await using other = await openTransaction(db.url);
    const both = await Promise.all(
      [on, other].map(({ taskConnection }) =>
        read(copyOut(taskConnection, series(50_000), { signal: unstopped })),
      ),
    );
    expect(both[0]?.equals(both[1] ?? Buffer.alloc(0))).to.equal(true);
  });

  it('cancels a COPY that is not read to its end, and leaves the connection usable', async () => {
    await on.ask('savepoint s');
    for await (const part of copyOut(on.taskConnection, series(3_000_000), { signal: unstopped })) {
      if (part.length > 0) break;
    }
    await on.ask('rollback to savepoint s');
    expect(await on.ask('select 1')).to.equal(1);
  });

  it('throws the reason of an abort, and leaves the connection usable', async () => {
    const controller = new AbortController();
    await on.ask('savepoint s');
    const reading = failureOf(
      read(
        copyOut(on.taskConnection, `copy (select pg_sleep(i) from generate_series(0, 60) i) to stdout`, {
          signal: controller.signal,
        }),
      ),
    );
    await db.query(`do $$ begin
      while not exists (select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()) loop
        perform pg_sleep(0.01); perform pg_stat_clear_snapshot(); end loop; end $$`);
    controller.abort(new Error('stopped'));
    expect((await reading).message).to.equal('stopped');
    await on.ask('rollback to savepoint s');
    expect(await on.ask('select 1')).to.equal(1);
  });

  it('throws the error of the server, also after some rows', async () => {
    await on.ask('savepoint s');
    const dividing = `copy (select 1 / (100000 - i) from generate_series(1, 200000) i) to stdout`;
    expect(await failureOf(read(copyOut(on.taskConnection, dividing, { signal: unstopped })))).to.include({
      code: '22012',
    });
    await on.ask('rollback to savepoint s');
    expect(
      (await failureOf(read(copyOut(on.taskConnection, 'copy none to stdout', { signal: unstopped })))).code,
    ).to.equal('42P01');
  });

  it('throws when the connection is lost', async () => {
    const pid = await on.ask('select pg_backend_pid()');
    async function reading() {
      let parts = 0;
      for await (const _ of copyOut(on.taskConnection, series(5_000_000), { signal: unstopped })) {
        if (++parts === 2) await db.query('select pg_terminate_backend($1)', [pid]);
      }
    }
    const error = await failureOf(reading());
    expect(error.code ?? error.message).to.match(/57P01|Connection terminated|ECONNRESET|EPIPE/);
  });

  it('returns nothing for a statement that is not COPY … TO STDOUT, and leaves the connection usable', async () => {
    await on.ask('create temp table u ()');
    expect(await read(copyOut(on.taskConnection, 'select 1', { signal: unstopped }))).to.have.lengthOf(0);
    expect(
      (await failureOf(read(copyOut(on.taskConnection, 'copy u from stdin', { signal: unstopped })))).code,
    ).to.equal('57014');
  });

  it('splits messages wherever the socket cuts them', () => {
    const message = fc.record({
      type: fc.constantFrom('d', 'd', 'd', 'N', 'H', 'C'),
      body: fc.uint8Array({ maxLength: 20 }),
    });
    fc.assert(
      fc.property(
        fc.array(message),
        fc.infiniteStream(fc.integer({ min: 1, max: 30 })),
        (messages, sizes) => {
          const encode = (type: string, body: Uint8Array) => {
            const header = Buffer.from([type.charCodeAt(0), 0, 0, 0, 4 + body.length]);
            return Buffer.concat([header, body]);
          };
          const rest = encode('Z', Buffer.from('T'));
          const all = Buffer.concat([...messages.map(({ type, body }) => encode(type, body)), rest]);
          const [data, other]: [Buffer[], Buffer[]] = [[], []];
          const frames = new Frames({
            type: 'd',
            data: (bytes) => data.push(Buffer.from(bytes)),
            other: (bytes) => other.push(Buffer.from(bytes)),
          });
          let left: Buffer | undefined;
          let at = 0;
          while (left === undefined && at < all.length) {
            const size = sizes.next().value;
            left = frames.read(Buffer.from(all.subarray(at, at + size)));
            at += size;
          }
          const isData = ({ type }: { type: string }) => type === 'd';
          expect(Buffer.concat(data)).to.deep.equal(
            Buffer.concat(messages.filter(isData).map(({ body }) => body)),
          );
          expect(Buffer.concat(other)).to.deep.equal(
            Buffer.concat(
              messages.filter((each) => !isData(each)).map(({ type, body }) => encode(type, body)),
            ),
          );
          expect(Buffer.concat([left ?? Buffer.alloc(0), all.subarray(at)])).to.deep.equal(rest);
        },
      ),
    );
  });
});
