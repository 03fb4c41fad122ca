import { expect } from 'chai';
import fc from 'fast-check';
import { findEncoding } from '../../../../src/runtime/format/encodings.js';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { openWorkbench, type Workbench } from './workbench.js';

/** The encodings of PostgreSQL with one byte a character. https://www.postgresql.org/docs/current/multibyte.html */
const SERVER_SINGLE_BYTE = (
  'LATIN1 LATIN2 LATIN3 LATIN4 LATIN5 LATIN6 LATIN7 LATIN8 LATIN9 LATIN10 ' +
  'ISO_8859_5 ISO_8859_6 ISO_8859_7 ISO_8859_8 KOI8R KOI8U WIN866 WIN874 ' +
  'WIN1250 WIN1251 WIN1252 WIN1253 WIN1254 WIN1255 WIN1256 WIN1257 WIN1258'
).split(' ');

/** Names whose meaning the Encoding Standard and PostgreSQL disagree about, or that have another usual name. */
const OTHER_NAMES: readonly [name: string, server: string][] = [
  ['latin1', 'LATIN1'], ['iso-8859-1', 'LATIN1'], ['ISO 8859-1', 'LATIN1'], ['l1', 'LATIN1'],
  ['latin5', 'LATIN5'], ['iso-8859-9', 'LATIN5'], ['iso-8859-15', 'LATIN9'], ['windows-1252', 'WIN1252'],
  ['cp1252', 'WIN1252'], ['windows1254', 'WIN1254'], ['koi8-r', 'KOI8R'], ['ibm866', 'WIN866'], ['windows-874', 'WIN874'],
]; // prettier-ignore

/** The ways on which a text gets into a table: read by the server, read in this process, and in a header. */
const WAYS: readonly [title: string, source: Partial<LoadSource>][] = [
  ['plain', {}],
  ['transform', { transform: (row) => row }],
  ['rejects', { rejects: { max: 1000, to: 'bad' } }],
  ['discard', { schema: 'discard' }],
];

describe('a CSV file in another encoding', () => {
  let bench: Workbench;
  before(async () => {
    bench = await openWorkbench();
    await bench.db.query(`create function convert(b bytea, e text) returns text language plpgsql as
      $$ begin return convert_from(b, e); exception when others then return null; end $$`);
  });
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(() => bench.db.query('drop table if exists t, bad; create table t (id int, a text)'));

  const stored = async (): Promise<ReadonlyMap<number, string>> => {
    const rows = await bench.db.query<{ id: number; a: string }>('select id, a from t');
    return new Map(rows.map(({ id, a }) => [id, a]));
  };

  for (const [name, server] of [...SERVER_SINGLE_BYTE.map((each) => [each, each] as const), ...OTHER_NAMES]) {
    it(`means what PostgreSQL reads, for each byte and on every way: ${name}`, async () => {
      // NUL, quotes and line breaks are not text.
      const bytes = Array.from({ length: 255 }, (_, i) => i + 1).filter(
        (byte) => ![10, 13, 34].includes(byte),
      );
      const rows = await bench.db.query<{ byte: number; text: string | null }>(
        `select byte, convert(set_byte('\\x00'::bytea, 0, byte), $1) as text from unnest($2::int[]) byte`,
        [server, bytes],
      );
      const expected = new Map(
        rows.flatMap(({ byte, text }) => (text === null ? [] : [[byte, text] as const])),
      );
      const unknown = bytes.filter((byte) => !expected.has(byte));
      const build = (of: readonly number[]): Buffer =>
        Buffer.concat([
          Buffer.from('id,a,x\n'),
          ...of.flatMap((byte) => [Buffer.from(`${byte},"`), Buffer.of(byte), Buffer.from('",\n')]),
        ]);
      await bench.db.query('alter table t add x text');
      for (const [way, source] of WAYS) {
        await bench.db.query('truncate t');
        await bench.write({ 'in.csv': build(way === 'rejects' ? bytes : [...expected.keys()]) });
        if (way === 'discard') await bench.db.query('alter table t drop x');
        const { task, result } = await bench.load({ ...source, csv: { encoding: name } });
        expect(task?.error, way).to.equal(undefined);
        expect(await stored(), way).to.deep.equal(expected);
        if (way === 'rejects') expect(result?.['rejected']).to.equal(unknown.length);
      }
      // A byte without a character is an error on each way.
      await bench.db.query('alter table t add x text');
      for (const byte of unknown.slice(0, 2)) {
        await bench.write({ 'in.csv': build([byte]) });
        for (const [way, source] of WAYS) {
          if (way === 'rejects') continue;
          const { task } = await bench.load({ ...source, csv: { encoding: name } });
          expect(task?.error?.code, `${way} ${byte}`).to.match(/^ETL-(?:3001|3554)$/);
        }
      }
    });
  }

  const headers: readonly [encoding: string, name: string, bytes: Buffer][] = [
    ['windows-1252', 'Preis €', Buffer.from('Preis \x80', 'latin1')],
    ['latin1', 'Größe', Buffer.from('Größe', 'latin1')],
    ['latin9', 'Preis €', Buffer.from('Preis \xa4', 'latin1')],
    ['koi8-r', 'цена', Buffer.from('c3c5cec1', 'hex')],
    ['shift_jis', '価格表ソ', Buffer.from('89bf8a69955c835c', 'hex')],
    ['euc-kr', '가격', Buffer.from('b0a1b0dd', 'hex')],
    ['gbk', '价格', Buffer.from('bcdbb8f1', 'hex')],
    ['gb18030', '价格', Buffer.from('bcdbb8f1', 'hex')],
    ['big5', '價格', Buffer.from('bbf9aee6', 'hex')],
    ['euc-jp', '価格', Buffer.from('b2c1b3ca', 'hex')],
    ['macintosh', 'Größe €', Buffer.from('4772 9aa7 6520 db'.replaceAll(' ', ''), 'hex')],
    ['utf-16le', 'Größe €😀', Buffer.from('Größe €😀', 'utf16le')],
    ['utf-16be', 'Größe €😀', Buffer.from('Größe €😀', 'utf16le').swap16()],
  ];
  for (const [encoding, name, bytes] of headers) {
    it(`may have a header in that encoding: ${encoding}`, async () => {
      const ascii = (text: string): Buffer => {
        const plain = Buffer.from(text, encoding.startsWith('utf-16') ? 'utf16le' : 'latin1');
        return encoding === 'utf-16be' ? plain.swap16() : plain;
      };
      const text = Buffer.concat([ascii('id,"'), bytes, ascii('"\n1,"'), bytes, ascii('"\n')]);
      await bench.write({ 'in.csv': text });
      for (const [way, source] of [...WAYS.slice(0, 3), ['create', { create: true }] as const]) {
        const quoted = `"${name}"`;
        await bench.db.query('drop table t');
        if (way !== 'create') await bench.db.query(`create table t (id int, ${quoted} text)`);
        const { task } = await bench.load({ ...source, csv: { encoding } });
        expect(task?.error, way).to.equal(undefined);
        expect(await bench.db.query(`select ${quoted} as a from t`), way).to.deep.equal([{ a: name }]);
      }
    });
  }

  const multiByte: readonly [encoding: string, server: string, first: string, last: string][] = [
    ['shift_jis', 'SJIS', '889f', '9ffc'],
    ['euc-jp', 'EUC_JP', 'b0a1', 'f4a6'],
    ['gbk', 'GBK', '8140', 'a0fe'],
    ['gb18030', 'GB18030', '8140', 'a0fe'],
    ['big5', 'BIG5', 'a440', 'c67e'],
    ['euc-kr', 'EUC_KR', 'b0a1', 'c8fe'],
    ['uhc', 'UHC', '8141', 'a0fe'],
  ];
  for (const [encoding, server, first, last] of multiByte) {
    it(`has the letters that PostgreSQL reads, on every way: ${encoding}`, async () => {
      const codes = await bench.db.query<{ code: string; text: string }>(
        `select * from (
           select to_hex(n) as code, convert(decode(to_hex(n), 'hex'), $1) as text
           from generate_series($2::int, $3::int) n where n % 256 >= 64
         ) c where length(text) = 1 and text <> U&'\\FFFD'`,
        [server, Number.parseInt(first, 16), Number.parseInt(last, 16)],
      );
      expect(codes.length).to.be.greaterThan(1000);
      const text = codes.map(({ code }, id) =>
        Buffer.concat([Buffer.from(`${id},`), Buffer.from(code, 'hex'), Buffer.from('\n')]),
      );
      await bench.write({ 'in.csv': Buffer.concat([Buffer.from('id,a\n'), ...text]) });
      for (const [way, source] of WAYS.slice(0, 3)) {
        await bench.db.query('truncate t');
        const { task, result } = await bench.load({ ...source, csv: { encoding } });
        expect(task?.error, way).to.equal(undefined);
        expect(await stored(), way).to.deep.equal(new Map(codes.map((each, id) => [id, each.text])));
        if (way === 'rejects') expect(result?.['rejected']).to.equal(0);
      }
    });
  }

  it('has the same text on every way, or is refused, also where characters are cut: shift_jis, utf-16', async () => {
    const word = fc.string({
      unit: fc.constantFrom('a', '表', 'ソ', '\\', '|', 'é', '😀', ' '),
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(word, { maxLength: 5 }),
        fc.constantFrom('utf-16le', 'utf-16be', 'utf-16'),
        async (words, encoding) => {
          const text = Buffer.from(
            `\ufeffid|a\n${words.map((each, id) => `${id}|'${each.replaceAll('\\', '\\\\')}'\n`).join('')}`,
            'utf16le',
          );
          await bench.write({ 'in.csv': encoding === 'utf-16be' ? text.swap16() : text });
          for (const [way, source] of WAYS.slice(0, 3)) {
            await bench.db.query('truncate t');
            const csv = { encoding, delimiter: '|', quote: "'", escape: '\\' };
            expect((await bench.load({ ...source, csv })).task?.error, way).to.equal(undefined);
            expect([...(await stored()).values()], way).to.deep.equal(words);
          }
        },
      ),
      { numRuns: 15 },
    );
  });

  for (const encoding of ['macintosh', 'x-mac-cyrillic'])
    it(`means what the Encoding Standard says, for each byte that no encoding of PostgreSQL has: ${encoding}`, async () => {
      const bytes = Array.from({ length: 128 }, (_, i) => 128 + i);
      const letters = new TextDecoder(encoding).decode(Buffer.from(bytes));
      const rows = bytes.map((byte) =>
        Buffer.concat([Buffer.from(`${byte},`), Buffer.of(byte), Buffer.from('\n')]),
      );
      await bench.write({ 'in.csv': Buffer.concat([Buffer.from('id,a\n'), ...rows]) });
      for (const [way, source] of WAYS) {
        await bench.db.query('truncate t');
        expect((await bench.load({ ...source, csv: { encoding } })).task?.error, way).to.equal(undefined);
        expect(await stored(), way).to.deep.equal(new Map(bytes.map((byte, i) => [byte, letters[i]])));
      }
    });

  it('shows the text of a rejected row in the encoding of the file', async () => {
    for (const [encoding, bytes] of [
      ['latin1', Buffer.from('id,a\nx,Größe\n', 'latin1')],
      ['windows-1252', Buffer.from('id,a\nx,Gr\xf6\xdfe\n', 'latin1')],
      ['utf-16le', Buffer.from('id,a\nx,Größe\n', 'utf16le')],
    ] as const) {
      await bench.db.query('drop table if exists bad');
      await bench.write({ 'in.csv': bytes });
      await bench.load({ csv: { encoding }, rejects: { max: 1, to: 'bad' } });
      expect(await bench.db.query('select raw from bad')).to.deep.equal([{ raw: 'x,Größe' }]);
    }
  });

  it('puts aside only the rows with bytes that are not in the encoding', async () => {
    for (const [encoding, before, wrong] of [
      ['shift_jis', Buffer.from('id,a\n1,a\n2,'), Buffer.from('8100', 'hex')],
      ['utf-16le', Buffer.from('id,a\n1,a\n2,', 'utf16le'), Buffer.from('00d8', 'hex')],
    ] as const) {
      await bench.db.query('truncate t; drop table if exists bad');
      const end = Buffer.from('\n3,c\n', encoding === 'utf-16le' ? 'utf16le' : 'latin1');
      await bench.write({ 'in.csv': Buffer.concat([before, wrong, end]) });
      const { task } = await bench.load({ csv: { encoding }, rejects: { max: 1, to: 'bad' } });
      expect(task?.error).to.equal(undefined);
      expect([...(await stored()).keys()]).to.deep.equal([1, 3]);
      const failed = await bench.load({ csv: { encoding } });
      expect(failed.task?.error, encoding).to.include({ code: 'ETL-3554' });
    }
  });

  it('is refused when the Dag is defined if two standards give the name to different encodings, or none does', () => {
    for (const name of ['unicode', 'ascii', 'us-ascii', 'sql_ascii', 'nonsense', '', 'mule_internal'])
      expect(findEncoding(name), name).to.equal(undefined);
    for (const name of [
      'utf8',
      'UTF-8',
      'Unicode11UTF8',
      'csISOLatin2',
      'x-cp1250',
      'WIN1252',
      'Windows1252',
      'cp932',
    ])
      expect(findEncoding(name), name).not.to.equal(undefined);
  });
});
