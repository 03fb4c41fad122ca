import { expect } from 'chai';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { EtlError } from '../../../src/errors.js';
import { copyInto } from '../../../src/runtime/copy/copy-in.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { failureOf, openTransaction, unstopped, type OpenTransaction } from './on-wire.js';

describe('COPY into a table', () => {
  let db: TestDatabase;
  let on: OpenTransaction;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id int primary key, a text)');
  });
  after(() => db.drop());
  beforeEach(async () => {
    on = await openTransaction(db.url);
  });
  afterEach(() => on[Symbol.asyncDispose]());

  const COPY = 'copy t from stdin';
  const lines = (from: number, to: number) =>
    Buffer.from(Array.from({ length: to - from }, (_, i) => `${from + i}\tx\n`).join(''));
  const into = (source: AsyncIterable<Buffer> | Iterable<Buffer>, signal = unstopped) =>
    copyInto(on.taskConnection, COPY, source, { signal });

  /** Returns parts that never end, and a promise that resolves when their reader stops. */
  function endless(first = 0) {
    const left = new AbortController();
    async function* parts() {
      try {
        for (let at = first; ; at += 1000) yield lines(at, at + 1000);
      } finally {
        left.abort();
      }
    }
    return { parts: parts(), left: once(left.signal, 'abort') };
  }

  const sources: readonly [
    title: string,
    source: () => Iterable<Buffer> | AsyncIterable<Buffer>,
    rows: number,
  ][] = [
    ['one part', () => [lines(0, 10)], 10],
    ['rows that are cut anywhere', () => [...lines(0, 50)].map((byte) => Buffer.from([byte])), 50],
    ['parts that are larger than a message', () => [lines(0, 400_000)], 400_000],
    ['empty parts', () => [Buffer.alloc(0), lines(0, 1), Buffer.alloc(0)], 1],
    ['no parts', () => [], 0],
  ];
  for (const [title, source, rows] of sources) {
    it(`returns the number of rows by the server for ${title}`, async () => {
      expect(await into(source())).to.equal(rows);
      expect(await on.ask('select count(*)::int from t')).to.equal(rows);
      expect(on.taskConnection.rows.written).to.equal(rows);
    });
  }

  it('calls `moved` with the number of bytes of each part', async () => {
    const moved: number[] = [];
    await copyInto(on.taskConnection, COPY, [lines(0, 5), lines(5, 6)], {
      signal: unstopped,
      moved: (bytes) => moved.push(bytes),
    });
    expect(moved).to.deep.equal([20, 4]);
  });

  it('reads no data while the server accepts none', async () => {
    await using other = await openTransaction(db.url);
    await other.ask('lock table t in share row exclusive mode');
    const pid = await on.ask('select pg_backend_pid()');
    let taken = 0;
    async function* counted() {
      for (;;) yield lines(taken++ * 1000, taken * 1000);
    }
    const copying = failureOf(into(counted()));
    await other.ask(`do $$ begin
      while not exists (select from pg_locks where not granted and pid = ${String(pid)}) loop
        perform pg_sleep(0.01); end loop; end $$`);
    await other.ask(`select pg_cancel_backend(${String(pid)})`);
    expect((await copying).code).to.equal('57014');
    expect(taken).to.equal(0);
  });

  it('throws the error of the server although the data never ends, and ends the data', async () => {
    const { parts, left } = endless();
    async function* bad() {
      yield Buffer.from('wrong\tx\n');
      yield* parts;
    }
    const error = await failureOf(into(bad()));
    expect(error).to.include({ code: '22P02', where: 'COPY t, line 1, column id: "wrong"' });
    await left;
  });

  it('throws the error of the server although the data stream is silent, and destroys the stream', async () => {
    const silent = new PassThrough();
    silent.write('1\tx\n1\tx\n');
    await on.ask(`create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$`);
    await on.ask('create trigger refuse before insert on t for each row execute function refuse()');
    silent.write(lines(2, 20_000));
    expect((await failureOf(into(silent))).code).to.equal('P0001');
    expect(silent.destroyed).to.equal(true);
  });

  it('can be repeated after an error inside a savepoint', async () => {
    await on.ask('savepoint s');
    expect((await failureOf(into([lines(0, 2), lines(0, 2)]))).code).to.equal('23505');
    await on.ask('rollback to savepoint s');
    expect(await into([lines(0, 2)])).to.equal(2);
    expect(on.taskConnection.failure).to.equal(undefined);
  });

  it('fails the COPY on the server when the data fails, and throws the error of the data', async () => {
    async function* breaks() {
      yield lines(0, 5);
      throw new Error('the file is torn\0');
    }
    await on.ask('savepoint s');
    expect((await failureOf(into(breaks()))).message).to.equal('the file is torn\0');
    expect(on.taskConnection.failure).to.include({
      code: '57014',
      message: 'COPY from stdin failed: the file is torn',
    });
    await on.ask('rollback to savepoint s');
    expect(await on.ask('select count(*)::int from t')).to.equal(0);
  });

  it('throws the reason of an abort, and leaves the connection usable', async () => {
    const controller = new AbortController();
    const silent = new PassThrough();
    silent.write(lines(0, 5));
    await on.ask('savepoint s');
    const copying = failureOf(
      copyInto(on.taskConnection, COPY, silent, {
        signal: controller.signal,
        moved: () => controller.abort(new Error('stopped')),
      }),
    );
    expect((await copying).message).to.equal('stopped');
    await on.ask('rollback to savepoint s');
    expect(await on.ask('select count(*)::int from t')).to.equal(0);
    expect(silent.destroyed).to.equal(true);
  });

  it('sends nothing if the signal has aborted before the COPY', async () => {
    expect((await failureOf(into([lines(0, 1)], AbortSignal.abort(new Error('stopped'))))).message).to.equal(
      'stopped',
    );
    expect(await on.ask('select count(*)::int from t')).to.equal(0);
  });

  it('throws when the connection is lost, and ends the data', async () => {
    const { parts, left } = endless();
    const pid = await on.ask('select pg_backend_pid()');
    async function* ended() {
      yield lines(2_000_000, 2_000_001);
      await db.query('select pg_terminate_backend($1)', [pid]);
      yield* parts;
    }
    const error = await failureOf(into(ended()));
    expect(error.code ?? error.message).to.match(/57P01|Connection terminated|ECONNRESET|EPIPE/);
    await left;
  });

  it('refuses a statement that is not COPY … FROM STDIN, and leaves the connection usable', async () => {
    for (const text of ['select 1', 'copy t to stdout', 'create temp table u ()']) {
      const error = await failureOf(copyInto(on.taskConnection, text, [lines(0, 1)], { signal: unstopped }));
      expect(error).to.be.instanceOf(EtlError).and.include({ code: 'ETL-3541' });
    }
    expect(await on.ask('select 1')).to.equal(1);
  });

  it('is refused after the end of the task', async () => {
    on.taskConnection.close();
    expect(await failureOf(into([lines(0, 1)]))).to.include({ code: 'ETL-3206' });
  });
});
