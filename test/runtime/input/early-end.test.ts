import { expect } from 'chai';
import fc from 'fast-check';
import { once } from 'node:events';
import { appendFile, mkdtemp, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import { EtlError } from '../../../src/errors.js';
import { openInput } from '../../../src/runtime/input/open-input.js';
import type { Input, InputOptions } from '../../../src/runtime/input/input.js';

/** A compression, with the extension of a file and the name of the content encoding, as far as they exist. */
interface Packing {
  readonly name: string;
  readonly extension?: string;
  readonly encoding?: string;
  readonly pack: (text: Buffer) => Buffer;
}

const { zstdCompressSync } = zlib as { zstdCompressSync?: (text: Buffer) => Buffer };
const PACKINGS: readonly Packing[] = [
  { name: 'none', extension: '', encoding: 'identity', pack: (text) => text },
  { name: 'gzip', extension: '.gz', encoding: 'gzip', pack: (text) => zlib.gzipSync(text) },
  { name: 'brotli', extension: '.br', encoding: 'br', pack: (text) => zlib.brotliCompressSync(text) },
  { name: 'deflate', encoding: 'deflate', pack: (text) => zlib.deflateSync(text) },
  { name: 'deflate without a header', encoding: 'deflate', pack: (text) => zlib.deflateRawSync(text) },
  // Node.js 20 has no zstd.
  ...(zstdCompressSync === undefined
    ? []
    : [{ name: 'zstd', extension: '.zst', encoding: 'zstd', pack: zstdCompressSync }]),
  {
    name: 'gzip in gzip',
    encoding: 'gzip, gzip',
    pack: (text) => zlib.gzipSync(zlib.gzipSync(text)),
  },
];

/** The answer of a server: the head of the answer, and the body in the form that the head announces. */
interface Sent {
  readonly head: string;
  readonly body: Buffer;
}

/** Makes an answer with the body `sent`, which announces the body `whole`. */
type Delivery = (whole: Buffer, sent: Buffer) => Sent;

const chunk = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
const DELIVERIES: Readonly<Record<string, Delivery>> = {
  'Content-Length': (whole, body) => ({ head: `HTTP/1.1 200 OK\r\nContent-Length: ${whole.length}`, body }),
  'HTTP/1.0 with Content-Length': (whole, body) => ({
    head: `HTTP/1.0 200 OK\r\nContent-Length: ${whole.length}`,
    body,
  }),
  'HTTP/1.0': (_whole, body) => ({ head: 'HTTP/1.0 200 OK', body }),
  'HTTP/1.1 until the end of the connection': (_whole, body) => ({
    head: 'HTTP/1.1 200 OK\r\nConnection: close',
    body,
  }),
  chunked: (whole, body) => ({
    head: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked',
    body: Buffer.concat([
      ...(body.length > 0 ? [chunk(body)] : []),
      Buffer.from(body.length < whole.length ? '' : '0\r\n\r\n'),
    ]),
  }),
  206: (whole, body) => ({
    head: `HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-${body.length - 1}/${whole.length}\r\nContent-Length: ${body.length}`,
    body,
  }),
};
/** The answers whose end is only the end of the connection. */
const ENDLESS = new Set(['HTTP/1.0', 'HTTP/1.1 until the end of the connection']);

describe('an input that ends early', () => {
  let root: string;
  let server: Server;
  let base: string;
  /** Answers the next request. */
  let answer: (socket: Socket) => void = (socket) => socket.destroy();
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'etl-early-'));
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => answer(socket));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.close();
    await rm(root, { recursive: true });
  });

  async function read(from: Input, options: Partial<InputOptions> = {}, onChunk = async () => {}) {
    const parts: Buffer[] = [];
    const signal = new AbortController().signal;
    for await (const input of openInput(from, { root, signal, ...options })) {
      if ('rows' in input) throw new Error('rows');
      for await (const bytes of input.chunks()) {
        parts.push(Buffer.from(bytes));
        await onChunk();
      }
    }
    return Buffer.concat(parts).toString();
  }
  /** Reads, and returns the code of the error instead of the text if the reading fails with an `EtlError`. */
  const tryRead = (...given: Parameters<typeof read>): Promise<string> =>
    read(...given).catch((error: unknown) => {
      if (error instanceof EtlError) return error.code;
      throw error;
    });

  function send({ head, body }: Sent, headers: string, isReset = false): void {
    answer = (socket) => {
      socket.write(Buffer.concat([Buffer.from(`${head}\r\n${headers}\r\n`), body]), () =>
        isReset ? socket.resetAndDestroy() : socket.end(),
      );
    };
  }

  const text = fc
    .array(fc.stringMatching(/^[a-z0-9]{0,9}$/), { maxLength: 40 })
    .map((lines) => Buffer.from(lines.map((line) => `${line}\n`).join('')));
  for (const { name, extension, encoding, pack } of PACKINGS) {
    for (const [delivery, deliver] of Object.entries(DELIVERIES)) {
      const title = `${name} by ${delivery}`;
      it(`is an error at every cut, and a whole input is none: ${title}`, async () => {
        const runs = [
          ...(extension === undefined ? [] : [{ path: `/a.csv${extension}`, headers: '' }]),
          ...(encoding === undefined
            ? []
            : [{ path: '/a.csv', headers: `Content-Encoding: ${encoding}\r\n` }]),
        ];
        const property = fc.asyncProperty(
          text,
          fc.constantFrom(...runs),
          fc.nat(),
          fc.boolean(),
          async (plain, { path, headers }, seed, isReset) => {
            const whole = pack(plain);
            const isRefused = delivery === '206' || (ENDLESS.has(delivery) && name === 'none');
            send(deliver(whole, whole), headers);
            const code = delivery === '206' ? 'ETL-3551' : 'ETL-3572';
            expect(await tryRead(base + path)).to.equal(isRefused ? code : plain.toString());

            if (whole.length === 0) return;
            const cut = whole.subarray(0, seed % whole.length);
            send(deliver(whole, cut), headers, isReset);
            expect(await tryRead(base + path)).to.match(/^ETL-35[57]\d$/);

            // The framing is right, and only the compressed data is cut.
            if (name === 'none') return;
            send(deliver(cut, cut), headers);
            expect(await tryRead(base + path)).to.match(/^ETL-355\d$/);
          },
        );
        await fc.assert(property, { numRuns: 25 });
      });
    }

    if (extension !== undefined && name !== 'none')
      it(`is an error at every cut of a file on the disk and of a stream: ${name}`, async () => {
        const plain = Buffer.from('id,name\n1,é\n2,ü\n');
        const whole = pack(plain);
        const compression = name as 'gzip' | 'brotli' | 'zstd';
        for (let at = 0; at <= whole.length; at++) {
          const cut = whole.subarray(0, at);
          const expected = at === whole.length ? plain.toString() : 'ETL-3552';
          await writeFile(join(root, `a.csv${extension}`), cut);
          expect(await tryRead(`a.csv${extension}`), `file cut at ${at}`).to.equal(expected);
          const bytes = [...cut].map((byte) => Buffer.from([byte]));
          if (at > 0) expect(await tryRead(Readable.from(bytes), { compression })).to.equal(expected);
        }
      });
  }

  for (const { name, pack } of PACKINGS.filter((each) => ['gzip', 'zstd'].includes(each.name))) {
    it(`is an error in the second piece of joined ${name} data, and whole pieces are none`, async () => {
      const [first, second] = [pack(Buffer.from('a\n')), pack(Buffer.from('b\n'))];
      const whole = Buffer.concat([first, second]);
      for (const size of [1, whole.length]) {
        for (let at = first.length + 1; at <= whole.length; at++) {
          const parts: Buffer[] = [];
          for (let from = 0; from < at; from += size)
            parts.push(whole.subarray(from, Math.min(at, from + size)));
          const compression = name as 'gzip' | 'zstd';
          const found = await tryRead(Readable.from(parts), { compression });
          expect(found, `cut at ${at}`).to.equal(at === whole.length ? 'a\nb\n' : 'ETL-3552');
        }
      }
    });
  }

  for (const { name, pack } of PACKINGS.filter((each) => /^(?:gzip|brotli|zstd)$/.test(each.name))) {
    it(`is not confused with ${name} data that other bytes follow, which are an error too`, async () => {
      for (const more of ['x', 'garbage', '\0'.repeat(512)]) {
        for (const size of [1, 1000]) {
          const bytes = Buffer.concat([pack(Buffer.from('a\n')), Buffer.from(more)]);
          const parts: Buffer[] = [];
          for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
          const compression = name as 'gzip' | 'brotli' | 'zstd';
          expect(await tryRead(Readable.from(parts), { compression })).to.equal('ETL-3552');
        }
      }
    });
  }

  if (zstdCompressSync === undefined)
    it('is not possible with zstd on a Node.js without zstd, which refuses the input and says what to do', async () => {
      send({ head: 'HTTP/1.1 200 OK\r\nContent-Length: 3', body: Buffer.from('abc') }, '');
      const error = (await read(`${base}/a.csv.zst`).catch((thrown: unknown) => thrown)) as EtlError;
      expect(error).to.include({ code: 'ETL-3552' });
      expect(error.fix).to.match(/Node\.js 22\.15 or later/);
    });

  const framing: readonly [title: string, head: string, body: string, why: RegExp][] = [
    ['more bytes than its Content-Length', '200 OK\r\nContent-Length: 2', 'abcd', /more than the 2 bytes/],
    ['a chunk after its last chunk', '200 OK\r\nTransfer-Encoding: chunked', '2\r\nab\r\n0\r\n\r\ncd', /more than/],
    ['two lengths', '200 OK\r\nContent-Length: 2\r\nContent-Length: 4', 'abcd', /HPE_/],
    ['a length and chunks', '200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked', '2\r\nab\r\n0\r\n\r\n', /HPE_/],
    ['a transfer encoding besides chunks', '200 OK\r\nTransfer-Encoding: gzip, chunked', '2\r\nab\r\n0\r\n\r\n', /transfer encoding "gzip, chunked"/],
    ['an unknown content encoding', '200 OK\r\nContent-Length: 2\r\nContent-Encoding: compress', 'ab', /content encoding "compress"/],
    ['no content', '204 No Content', '', /204 No Content, which is not the whole file/],
    ['content that comes later', '202 Accepted\r\nContent-Length: 2', 'ab', /202 Accepted, which is not the whole file/],
    ['half of its head', '200 OK\r\nContent-Le', '', /ECONNRESET/],
    ['nothing', '', '', /ECONNRESET/],
  ]; // prettier-ignore
  for (const [title, head, body, why] of framing) {
    it(`can be an answer with ${title}, which is an error`, async () => {
      answer = (socket) => {
        const isHead = head.endsWith('Content-Le') || head === '';
        socket.end(head === '' ? '' : `HTTP/1.1 ${head}${isHead ? '' : '\r\n\r\n'}${body}`);
      };
      const error = await read(`${base}/a.csv`).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(EtlError).that.has.property('code', 'ETL-3551');
      expect((error as EtlError).why).to.match(why);
    });
  }

  it('sends its credentials to its own server only, also after a redirect', async () => {
    const seen: string[] = [];
    const other = createServer((socket) => {
      socket.once('data', (bytes) => {
        seen.push(bytes.toString());
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na\n');
      });
    }).listen(0, '127.0.0.1');
    await once(other, 'listening');
    const there = `http://127.0.0.1:${(other.address() as AddressInfo).port}/b.csv`;
    answer = (socket) => socket.end(`HTTP/1.1 302 Found\r\nLocation: ${there}\r\nContent-Length: 0\r\n\r\n`);
    expect(await read(`${base.replace('//', '//me:secret@')}/a.csv`)).to.equal('a\n');
    expect(seen).to.have.length(1);
    expect(seen[0]).not.to.match(/authorization|secret/i);
    other.close();
  });

  it('is refused if the server redirects for ever', async () => {
    answer = (socket) => socket.end('HTTP/1.1 302 Found\r\nLocation: /a.csv\r\nContent-Length: 0\r\n\r\n');
    const error = (await read(`${base}/a.csv`).catch((thrown: unknown) => thrown)) as EtlError;
    expect(error).to.include({ code: 'ETL-3551', why: 'more than 20 redirects' });
  });

  describe('because another program changes the file on the disk', () => {
    const big = 'id,name\n' + '1,some name\n'.repeat(200_000);
    const path = (name: string): string => join(root, name);
    const later = new Date(Date.now() + 60_000);
    const changes: readonly [title: string, change: () => Promise<unknown>][] = [
      ['cuts the file', () => truncate(path('big.csv'), 1_000_000)],
      ['empties the file', () => truncate(path('big.csv'), 0)],
      ['appends to the file', () => appendFile(path('big.csv'), '2,another\n')],
      ['writes other bytes of the same number', () => utimes(path('big.csv'), later, later)],
    ];
    for (const [title, change] of changes) {
      for (const [moment, when] of [
        ['first', 0],
        ['last', Infinity],
      ] as const) {
        it(`is an error if it ${title} after the ${moment} chunk was read`, async () => {
          await writeFile(path('big.csv'), big);
          let seen = 0;
          let isChanged = false;
          const error = await read('big.csv', {}, async () => {
            seen += 1;
            if (isChanged || (when === Infinity && seen < Math.ceil(big.length / (256 * 1024)))) return;
            isChanged = true;
            await change();
          }).catch((thrown: unknown) => thrown);
          expect(isChanged).to.equal(true);
          expect(error).to.be.instanceOf(EtlError).that.has.property('code', 'ETL-3571');
        });
      }
    }

    for (const [title, change] of [
      ['cut', () => truncate(path('second.csv'), 2)],
      [
        'replaced',
        async () => {
          await writeFile(path('other.csv'), 'a\n');
          await rename(path('other.csv'), path('second.csv'));
        },
      ],
    ] as const) {
      it(`is an error if the file is ${title} while the load reads an earlier file`, async () => {
        await writeFile(path('first.csv'), 'a\n1\n');
        await writeFile(path('second.csv'), 'a\n2\n');
        let isChanged = false;
        const found = await tryRead(['first.csv', 'second.csv'], {}, async () => {
          if (!isChanged) await change();
          isChanged = true;
        });
        expect(found).to.equal('ETL-3571');
      });
    }

    it('is no error if the file is replaced while the load reads it: the load reads the whole old file', async () => {
      await writeFile(path('big.csv'), big);
      let isChanged = false;
      const found = await tryRead('big.csv', {}, async () => {
        if (isChanged) return;
        isChanged = true;
        await writeFile(path('other.csv'), 'id,name\n');
        await rename(path('other.csv'), path('big.csv'));
      });
      expect(found === big).to.equal(true);
    });

    it('names the two sizes and the way to write a file', async () => {
      await writeFile(path('big.csv'), big);
      const error = (await read('big.csv', {}, () => truncate(path('big.csv'), 1_000_000)).catch(
        (thrown: unknown) => thrown,
      )) as EtlError;
      expect(error.message).to.equal('the file "big.csv" changed while the load read it');
      expect(error.why).to.equal(
        `it had ${big.length} bytes when the load began, and 1000000 bytes at its end`,
      );
      expect(error.fix).to.match(/rename/);
    });
  });
});
