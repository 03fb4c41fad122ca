import { expect } from 'chai';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import { EtlError } from '../../../src/errors.js';
import { openInput } from '../../../src/runtime/input/open-input.js';
import type { Input, InputOptions } from '../../../src/runtime/input/input.js';

const BIG = 'id,name\n' + '1,é\n'.repeat(200_000);

describe('the input of a load', () => {
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'etl-input-'));
    await mkdir(join(root, 'many'));
    await Promise.all([
      writeFile(join(root, 'a.csv'), 'a\n1\n'),
      writeFile(join(root, 'many/b10.csv'), 'b10'),
      writeFile(join(root, 'many/b9.csv'), 'b9'),
      writeFile(join(root, 'many/[x].csv'), 'x'),
      writeFile(join(root, 'empty.csv'), ''),
      writeFile(join(root, 'mark.csv'), '\ufeffa\n1\n'),
      writeFile(join(root, 'big.csv.gz'), zlib.gzipSync(BIG)),
      writeFile(join(root, 'two.csv.gz'), Buffer.concat([zlib.gzipSync('a\n'), zlib.gzipSync('1\n')])),
      writeFile(join(root, 'cut.csv.gz'), zlib.gzipSync(BIG).subarray(0, -20)),
      writeFile(
        join(root, 'two.csv.br'),
        Buffer.concat([zlib.brotliCompressSync('a\n'), zlib.brotliCompressSync('1\n')]),
      ),
      writeFile(join(root, 'big.csv.br'), zlib.brotliCompressSync(BIG)),
      writeFile(join(root, 'plain.csv.gz'), 'a\n1\n'),
      writeFile(join(root, 'some.csv.zst'), Buffer.from([0x28, 0xb5, 0x2f, 0xfd])),
    ]);
  });
  after(() => rm(root, { recursive: true }));

  type From = Input | (() => Input | Promise<Input>);
  async function read(from: From, options: Partial<InputOptions> = {}) {
    const found: [name: string, content: unknown][] = [];
    const signal = new AbortController().signal;
    for await (const input of openInput(from, { root, signal, ...options })) {
      const parts: unknown[] = [];
      if ('rows' in input) for await (const rows of input.rows()) parts.push(...rows);
      else for await (const chunk of input.chunks()) parts.push(chunk);
      found.push([input.name, 'rows' in input ? parts : Buffer.concat(parts as Buffer[]).toString()]);
    }
    return found;
  }
  const catchError = (from: From, options?: Partial<InputOptions>) =>
    read(from, options).then(
      () => undefined,
      (error: unknown) => error,
    );

  const cases: readonly [title: string, from: From, expected: unknown][] = [
    ['a path', 'a.csv', [['a.csv', 'a\n1\n']]],
    ['a list of paths, which are read in order', ['many/b9.csv', 'a.csv'], [['many/b9.csv', 'b9'], ['a.csv', 'a\n1\n']]],
    ['a glob, whose files are read in the order of their names', 'many/b*.csv', [['many/b10.csv', 'b10'], ['many/b9.csv', 'b9']]],
    ['a file whose name looks like a glob', 'many/[x].csv', [['many/[x].csv', 'x']]],
    ['an empty file', 'empty.csv', [['empty.csv', '']]],
    ['a file with a byte order mark', 'mark.csv', [['mark.csv', 'a\n1\n']]],
    ['a gzip file', 'big.csv.gz', [['big.csv.gz', BIG]]],
    ['a gzip file of two members', 'two.csv.gz', [['two.csv.gz', 'a\n1\n']]],
    ['a brotli file', 'big.csv.br', [['big.csv.br', BIG]]],
    ['a function that returns a path', async () => 'a.csv', [['a.csv', 'a\n1\n']]],
    ['rows', [{ a: 1 }, { a: 2 }], [['the rows of `from`', [{ a: 1 }, { a: 2 }]]]],
    ['no rows', [], [['the rows of `from`', []]]],
    ['a stream of rows', () => Readable.from([{ a: 1 }]), [['the stream', [{ a: 1 }]]]],
    ['a stream of bytes', () => Readable.from(['\ufeffa\n', Buffer.from('1\n')]), [['the stream', 'a\n1\n']]],
    ['a generator', () => (async function* () { yield { a: 1 }; })(), [['the rows of `from`', [{ a: 1 }]]]],
  ]; // prettier-ignore
  for (const [title, from, expected] of cases) {
    it(`can be ${title}`, async () => expect(await read(from)).to.deep.equal(expected));
  }

  const wrong: readonly [title: string, from: From, code: string, text: RegExp][] = [
    ['a missing file', 'none.csv', 'ETL-3501', /"none.csv" can't be read/],
    ['a glob without a match', 'none*.csv', 'ETL-3501', /no file matches "none\*.csv"/],
    ['a directory', 'many', 'ETL-3501', /"many"/],
    ['a list with a missing file', ['a.csv', 'none.csv'], 'ETL-3501', /"none.csv"/],
    ['a gzip file that is cut off', 'cut.csv.gz', 'ETL-3552', /"cut.csv.gz"/],
    ['a brotli file with more bytes after its end', 'two.csv.br', 'ETL-3552', /"two.csv.br".*completely/],
    ['a file with the extension .gz that is not gzip', 'plain.csv.gz', 'ETL-3552', /"plain.csv.gz"/],
    [
      'a zstd file that is cut off, or that Node.js can not read',
      'some.csv.zst',
      'ETL-3552',
      /"some.csv.zst"/,
    ],
    ['a stream of bytes and rows', () => Readable.from(['a', { a: 1 }]), 'ETL-3560', /a object/],
    ['a number', 1 as never, 'ETL-3560', /a number/],
  ];
  for (const [title, from, code, text] of wrong) {
    it(`can't be ${title}`, async () => {
      expect(await catchError(from))
        .to.be.instanceOf(EtlError)
        .that.has.property('code', code);
      expect(await catchError(from)).to.match(text);
    });
  }

  for (const [title, from] of [
    ['stream', Readable.from([{ a: 1 }])],
    ['web stream', Readable.toWeb(Readable.from([{ a: 1 }])) as AsyncIterable<{ a: number }>],
    [
      'generator',
      (function* () {
        yield { a: 1 };
      })(),
    ],
  ] as const) {
    // prettier-ignore
    it(`can't be a ${title} that an earlier attempt has read`, async () => {
      expect(await read(from)).to.have.length(1);
      expect(await catchError(from)).to.be.instanceOf(EtlError).that.includes({ code: 'ETL-3553' });
    });
  }

  it('is closed if its reader stops early', async () => {
    let onClosed: () => void = () => undefined;
    const closed = new Promise<void>((resolve) => (onClosed = resolve));
    const stored = zlib.gzipSync(BIG);
    async function* bytes() {
      try {
        for (let at = 0; at < stored.length; at += 100) yield stored.subarray(at, at + 100);
      } finally {
        onClosed();
      }
    }
    const signal = new AbortController().signal;
    for await (const input of openInput(bytes(), { root, signal, compression: 'gzip' }))
      if ('chunks' in input) for await (const _ of input.chunks()) break;
    await closed;
  });

  it('is not decompressed with the compression none, whatever its name says', async () => {
    expect(await read('plain.csv.gz', { compression: 'none' })).to.deep.equal([['plain.csv.gz', 'a\n1\n']]);
  });

  it('ends when the task is aborted', async () => {
    const stop = new AbortController();
    const seen: number[] = [];
    const reading = async (): Promise<void> => {
      for await (const input of openInput('big.csv.gz', { root, signal: stop.signal })) {
        if (!('chunks' in input)) continue;
        for await (const chunk of input.chunks()) {
          seen.push(chunk.length);
          stop.abort(new Error('stopped'));
        }
      }
    };
    expect(await reading().catch((error: unknown) => (error as Error).message)).to.equal('stopped');
    expect(seen).to.have.length(1);
  });

  describe('from a web server', () => {
    let server: Server;
    let base: string;
    const seen: (string | undefined)[] = [];
    before(async () => {
      server = createServer((request, response) => {
        seen.push(request.headers.authorization);
        const path = request.url?.split('?')[0];
        if (path === '/data.csv') response.end('a\n1\n');
        else if (path === '/moved.csv') response.writeHead(302, { location: '/data.csv' }).end();
        else if (path === '/data.csv.gz') response.end(zlib.gzipSync('a\n1\n'));
        else if (path === '/encoded.csv.gz')
          response.writeHead(200, { 'content-encoding': 'gzip' }).end(zlib.gzipSync('a\n1\n'));
        else if (path === '/broken.csv') {
          response.writeHead(200, { 'content-length': '100' });
          response.write('a\n1\n', () => response.destroy());
        } else response.writeHead(404).end();
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      base = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    after(() => new Promise((resolve) => server.close(resolve)));

    for (const [title, path] of [
      ['a file', '/data.csv'],
      ['a file behind a redirect', '/moved.csv'],
      ['a gzip file', '/data.csv.gz'],
      ['a gzip file that is sent with a content encoding', '/encoded.csv.gz'],
    ] as const) {
      it(`can be ${title}`, async () => {
        expect(await read(`http://${base}${path}`)).to.deep.equal([[`http://${base}${path}`, 'a\n1\n']]);
      });
    }

    it('is requested with the credentials of the URL, which no message shows', async () => {
      const from = `http://me:s%3Acret@${base}/data.csv?signature=hidden`;
      expect(await read(from)).to.deep.equal([[`http://${base}/data.csv`, 'a\n1\n']]);
      expect(seen.at(-1)).to.equal(`Basic ${Buffer.from('me:s:cret').toString('base64')}`);
      const error = (await catchError(`http://me:secret@${base}/none?signature=hidden`)) as EtlError;
      expect(error).to.include({ code: 'ETL-3551', why: 'the server answered 404 Not Found' });
      expect(`${error.stack} ${error.fix}`).not.to.match(/secret|hidden/);
    });

    it('is refused if the answer breaks off', async () => {
      const error = (await catchError(`http://${base}/broken.csv`)) as EtlError;
      expect(error.code).to.equal('ETL-3551');
      expect(error.why).to.match(/broke off after 4 bytes/);
    });

    it('is refused if no server listens', async () => {
      const other = createServer().listen(0, '127.0.0.1');
      await once(other, 'listening');
      const { port } = other.address() as AddressInfo;
      await new Promise((resolve) => other.close(resolve));
      expect(await catchError(`http://127.0.0.1:${port}/a.csv`)).to.include({
        code: 'ETL-3551',
        why: 'ECONNREFUSED',
      });
    });
  });
});
