import { PGlite } from '@electric-sql/pglite';
import { expect } from 'chai';
import fc from 'fast-check';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  encode,
  isCopyFromStdin,
  MessageReader,
  encodeQuery,
} from '../../../src/hooks/pglite/pglite-message.js';
import { PgliteSession } from '../../../src/hooks/pglite/pglite-session.js';
import { PgliteSocket } from '../../../src/hooks/pglite/pglite-socket.js';
import { copyEmbeddedDatabase } from '../../support/embedded.js';

const N = 'create temp table n (n int)';
const START = encode('?', Buffer.from([0, 3, 0, 0]), 'user\0postgres\0database\0postgres\0\0').subarray(1);

describe('PgliteSocket', () => {
  let root: string;
  let pglite: PGlite;
  let session: PgliteSession;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'etl-pglite-'));
    pglite = await open('shared');
    session = new PgliteSession(pglite);
  });

  after(async () => {
    await pglite.close();
    await rm(root, { recursive: true });
  });

  /** Opens a new database in the folder `name`. */
  async function open(name: string): Promise<PGlite> {
    await copyEmbeddedDatabase(join(root, name));
    return PGlite.create(join(root, name));
  }

  const conversations: readonly [title: string, messages: readonly Buffer[], answer: string][] = [
    ['a simple query', [encodeQuery('select 1')], 'TDCZI'],
    ['two statements in one query', [encodeQuery('select 1; select 2')], 'TDCTDCZI'],
    ['an extended query', extended('select $1::int', '7'), '12TDCZI'],
    ['an error in an extended query, and skips to its Sync', extended('selec'), 'EZI'],
    ['a Flush before the Sync', [parse('select 1'), encode('H'), encode('S')], '1ZI'],
    [
      'a transaction with an error',
      ['begin', 'selec', 'select 1', 'rollback'].map(encodeQuery),
      'CZTEZEEZECZI',
    ],
    ['a COPY in', copyIn('1\n', '2\n', encode('c')), 'CZIGCZI'],
    ['a COPY in that the client ends with CopyFail', copyIn('1\n', encode('f', 'no\0')), 'CZIGEZI'],
    ['a COPY in with a bad row', copyIn('1\n', 'x\n', encode('c')), 'CZIGEZI'],
    ['a COPY in, and skips a Sync in it', copyIn('1\n', encode('S'), encode('c')), 'CZIGCZI'],
    [
      'a query after the rest of a failed COPY, and skips the rest',
      [encode('d', 'x'), encode('c'), encodeQuery('')],
      'IZI',
    ],
    [
      'a second COPY in one query',
      [encodeQuery(`${N}; copy n from stdin; copy n from stdin`), encode('c')],
      'GCCEZI',
    ],
    ['a COPY that it does not recognise', [encodeQuery(`${N}; /* /* */ */ copy n from stdin`)], 'CGEZI'],
    [
      'a COPY in an extended query with an error',
      [encodeQuery(N), ...extended('copy n from stdin'), encode('S')],
      'CZI12nGEZI',
    ],
    ['a COPY out', [encodeQuery('copy (select 1) to stdout')], 'HdcCZI'],
    ['a notice', [encodeQuery("do $$ begin raise notice 'hi'; end $$")], 'NCZI'],
    ['a large message', [encodeQuery(`select length('${'x'.repeat(300_000)}')`)], 'TDCZI'],
  ];
  for (const [title, messages, answer] of conversations) {
    it(`answers ${title}, however the bytes are split`, async () => {
      const bytes = Buffer.concat([START, ...messages, encode('X')]);
      await fc.assert(
        fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 12 }), async (cuts) => {
          expect(summarize(await talk(cut(bytes, cuts)))).to.equal(`RZI${answer}`);
        }),
        { numRuns: 15, examples: [[[]], [Array.from({ length: Math.min(bytes.length, 400) }, (_, i) => i)]] },
      );
    });
  }

  it('fails a COPY over the limit with 54000, and aborts the transaction', async () => {
    const rows = Array.from({ length: 100 }, () => '123456789\n');
    const messages = [
      encodeQuery('begin'),
      ...copyIn(...rows, encode('c')),
      encodeQuery('rollback'),
      encode('X'),
    ];
    const answer = await talk([START, ...messages], 500);
    expect(summarize(answer)).to.equal('RZICZTCZTGEZECZI');
    expect(answer.toString()).to.contain('C54000\0').and.to.contain('limited to 500 bytes');
  });

  it('refuses a message of an unknown type, and leaves the session usable', async () => {
    const socket = new PgliteSocket(session);
    socket.connect();
    await once(socket, 'connect');
    socket.write(Buffer.concat([START, encode('?')]));
    const [error] = await once(socket, 'error');
    expect(String(error)).to.contain('"?"');
    expect(summarize(await talk([START, encodeQuery('select 1'), encode('X')]))).to.equal('RZITDCZI');
  });

  it('gives the next socket a clean session after an extended query without its Sync', async () => {
    const socket = new PgliteSocket(session);
    socket.connect();
    await once(socket, 'connect');
    socket.write(Buffer.concat([START, encodeQuery('begin'), parse('selec'), encode('H')]));
    for await (const chunk of socket.iterator({ destroyOnReturn: false }))
      if (summarize(chunk as Buffer) === 'E') break;
    socket.destroy();
    expect(summarize(await talk([START, encodeQuery('select 1'), encode('X')]))).to.equal('RZITDCZI');
  });

  it('fails, and does not loop, after PostgreSQL has ended the session', async () => {
    const other = await open('other');
    const lost = new PgliteSession(other);
    const end = await lost.enter();
    const outcomes = [[encode('?')], [encodeQuery('select 1')]].map((messages) =>
      lost.run(messages, () => {}),
    );
    for (const outcome of await Promise.allSettled(outcomes)) expect(outcome.status).to.equal('rejected');
    end();
    const refused = await lost.enter().catch((error: unknown) => error);
    expect(String(refused)).to.contain('the session of the embedded database has ended');
    await other.close();
  });

  it('waits for the socket before', async () => {
    const [first, second] = [new PgliteSocket(session), new PgliteSocket(session)];
    first.connect();
    await once(first, 'connect');
    const order: string[] = [];
    first.once('close', () => order.push('first closed'));
    second.once('connect', () => order.push('second connected'));
    second.connect();
    first.write(Buffer.concat([START, encodeQuery('select 1'), encode('X')]));
    await first.toArray();
    await once(second, 'connect');
    expect(order).to.deep.equal(['first closed', 'second connected']);
    second.destroy();
  });

  it('lets timers run between two statements', async () => {
    const ticks: number[] = [];
    const timer = setInterval(() => ticks.push(1), 1);
    await talk([
      START,
      ...Array.from({ length: 50 }, () => encodeQuery('select pg_sleep(0.002)')),
      encode('X'),
    ]);
    clearInterval(timer);
    expect(ticks.length).to.be.greaterThan(10);
  });

  it('reads a long message from many chunks without copying it again and again', () => {
    const reader = new MessageReader();
    reader.add(START);
    expect(reader.next()).to.deep.equal(START);
    const message = encode('d', Buffer.alloc(8 * 1024 * 1024));
    let copied = 0;
    const { concat } = Buffer;
    Buffer.concat = (parts, length) => {
      for (const part of parts) copied += part.length;
      return concat(parts, length);
    };
    try {
      for (let at = 0; at < message.length; at += 64) {
        expect(reader.next() === undefined).to.equal(true);
        reader.add(message.subarray(at, at + 64));
      }
      expect(reader.next()?.equals(message)).to.equal(true);
    } finally {
      Buffer.concat = concat;
    }
    expect(copied).to.be.within(message.length, message.length + 1024);
  });

  const statements: readonly [sql: string, reads: boolean][] = [
    ['copy t from stdin', true],
    ['COPY "a from b" (x)\n FROM  STDIN with (format csv)', true],
    ["copy t from stdin with (delimiter ';', null '''')", true],
    ['-- load\n/* it */ copy t from stdin', true],
    ['begin; copy t from stdin', true],
    ["copy t from 'stdin'", false],
    ['copy t to stdout', false],
    ["select 'copy t from stdin'", false],
    ["select 'it''s; copy t from stdin'", false],
    ["select e'\\'; copy t from stdin'", false],
    ['select $a$; copy t from stdin$a$', false],
    ['select 1 -- ; copy t from stdin', false],
    ['create table copy as select 1 from stdin', false],
  ];
  for (const [sql, reads] of statements) {
    it(`recognises that ${JSON.stringify(sql)} ${reads ? 'reads' : 'does not read'} from the client`, () => {
      expect(isCopyFromStdin(encodeQuery(sql))).to.equal(reads);
    });
  }

  /** Sends chunks and returns the whole answer. */
  async function talk(chunks: readonly Buffer[], copyLimit?: number): Promise<Buffer> {
    const socket = new PgliteSocket(session, copyLimit);
    socket.connect();
    await once(socket, 'connect');
    for (const chunk of chunks) socket.write(chunk);
    const answer = Buffer.concat(await socket.toArray());
    if (!socket.closed) await once(socket, 'close');
    return answer;
  }
});

function parse(sql: string): Buffer {
  return encode('P', '\0', sql, '\0\0\0');
}

function extended(sql: string, ...values: readonly string[]): readonly Buffer[] {
  const encoded = values.flatMap((value) => [int32(value.length), Buffer.from(value)]);
  const bind = encode('B', '\0\0', int16(0), int16(values.length), ...encoded, int16(0));
  return [parse(sql), bind, encode('D', 'P\0'), encode('E', '\0', int32(0)), encode('S')];
}

function copyIn(...parts: readonly (string | Buffer)[]): readonly Buffer[] {
  const data = parts.map((part) => (typeof part === 'string' ? encode('d', part) : part));
  return [encodeQuery(N), encodeQuery('copy n from stdin'), ...data];
}

function int16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function int32(value: number): Buffer {
  return Buffer.concat([int16(value >> 16), int16(value & 65_535)]);
}

function cut(bytes: Buffer, cuts: readonly number[]): readonly Buffer[] {
  const ends = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
  return ends.slice(1).map((end, i) => bytes.subarray(ends[i], end));
}

/** Returns the types of an answer's messages, with the transaction state after each Z, without S (parameters) and K (key). */
function summarize(answer: Buffer): string {
  let text = '';
  for (let at = 0; at < answer.length; at += 1 + answer.readUInt32BE(at + 1)) {
    const type = String.fromCharCode(answer[at] ?? 0);
    text += type === 'Z' ? `Z${String.fromCharCode(answer[at + 5] ?? 0)}` : type;
  }
  return text.replaceAll(/[SK]/g, '');
}
