import { expect } from 'chai';
import fc from 'fast-check';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { openWorkbench, type Workbench } from './workbench.js';

type Eol = '\n' | '\r' | '\r\n';

/**
 * Splits a file into its records, without their line breaks: the first line break outside quotes is the line break of the
 * whole file. Uses no code of the program.
 */
function splitRecords(text: string): { readonly eol: Eol; readonly records: readonly string[] } {
  const eol = /^(?:"[^"]*"|[^"\r\n])*(\r\n|\n|\r)/.exec(text)?.[1] as Eol | undefined;
  const records: string[] = [];
  let isQuoted = false;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') isQuoted = !isQuoted;
    if (isQuoted || eol === undefined || !text.startsWith(eol, at)) continue;
    records.push(text.slice(start, at));
    at += eol.length - 1;
    start = at + 1;
  }
  if (start < text.length) records.push(text.slice(start));
  return { eol: eol ?? '\n', records };
}

describe('a load with `rejects` puts aside the rows that COPY refuses alone', () => {
  let bench: Workbench;
  let client: pg.Client;
  before(async () => {
    bench = await openWorkbench();
    client = new pg.Client({ connectionString: bench.db.url });
    await client.connect();
    for (const table of ['t', 'alone'])
      await bench.db.query(
        `create table ${table} (n serial, a text, b varchar(3) check (b <> 'no'), unique (a))`,
      );
    await bench.db.query(`create table bad (n serial, run_id text, task_id text, file text, line bigint,
      reason text, raw text)`);
  });
  after(async () => {
    await client.end();
    await bench[Symbol.asyncDispose]();
  });

  /**
   * Copies one record alone, as `\copy` of psql does, in a file with the line break of the whole file: a header and a row,
   * which is deleted afterwards, come before.
   */
  async function copyAlone(record: string, eol: Eol): Promise<boolean> {
    const copy = client.query(copyFrom(`copy alone (a, b) from stdin with (format csv, header true)`));
    try {
      await pipeline(Readable.from([Buffer.from(`a,b${eol}first,${eol}${record}${eol}`, 'latin1')]), copy);
      await client.query(`delete from alone where a = 'first'`);
      return true;
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      return false;
    }
  }

  const word = fc.constantFrom('a', 'b', 'no', 'long', '', '\xff', '\xc3', '\0', '\\.', '""', ' ');
  const field = fc.oneof(
    { weight: 6, arbitrary: word },
    { weight: 2, arbitrary: fc.array(fc.constantFrom('a', ',', '\n', '\r', '\r\n', '""', '\xff'), { maxLength: 4 }).map((parts) => `"${parts.join('')}"`) },
    { weight: 1, arbitrary: fc.constantFrom('x\ry', 'x\ny', 'x\r\ny', '"', 'x"y"z') },
  ); // prettier-ignore
  const file = fc.record({
    header: fc.boolean(),
    eol: fc.constantFrom<Eol>('\n', '\r\n', '\r'),
    rows: fc.array(fc.array(field, { minLength: 1, maxLength: 3 }), { maxLength: 12 }),
    isEnded: fc.boolean(),
    size: fc.integer({ min: 1, max: 40 }),
  });
  it('whatever line breaks, quotes and bytes the rows have', async () => {
    await fc.assert(
      fc.asyncProperty(file, async ({ header, eol, rows, isEnded, size }) => {
        const lines = [...(header ? ['a,b'] : []), ...rows.map((fields) => fields.join(','))];
        const text = lines.join(eol) + (isEnded && lines.length > 0 ? eol : '');
        const found = splitRecords(text);
        const records = header ? found.records.slice(1) : found.records;
        await bench.db.query('truncate t, alone, bad restart identity');
        const refused: string[] = [];
        for (const record of records) if (!(await copyAlone(record, found.eol))) refused.push(record);

        const bytes = Buffer.from(text, 'latin1');
        const parts: Buffer[] = [];
        for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
        const { task } = await bench.load({
          from: () => Readable.from(parts),
          rejects: { max: 1000, to: 'bad' },
          csv: { header, columns: ['a', 'b'] },
        });
        expect(task?.error, JSON.stringify(text)).to.equal(undefined);
        expect(await bench.db.query('select a, b from t order by n'), JSON.stringify(text)).to.deep.equal(
          await bench.db.query('select a, b from alone order by n'),
        );
        const raws = await bench.db.query<{ raw: string }>('select raw from bad order by n');
        // A quote that is not closed holds the last line break of the file. It may be stored or not.
        const trim = (raw: string): string => raw.replace(/[\r\n]+$/, '');
        expect(
          raws.map(({ raw }) => trim(raw)),
          JSON.stringify(text),
        ).to.deep.equal(
          refused.map((each) => trim(Buffer.from(each, 'latin1').toString().replaceAll('\0', '\\x00'))),
        );
      }),
      { numRuns: 100 },
    );
  });

  const mixed: readonly [title: string, text: string, rows: string[], raws: string[]][] = [
    ['a lone CR in a file with LF', 'a,b\nx,a\rb\ny,z\n', ['y'], ['x,a\rb']],
    ['a CR LF in a file with LF', 'a,b\nx,a\r\ny,z\n', ['y'], ['x,a\r']],
    ['a lone LF in a file with CR LF', 'a,b\r\nx,a\ny,b\r\nz,c\r\n', ['z'], ['x,a\ny,b']],
    ['a lone CR in a file with CR LF', 'a,b\r\nx,a\ry,b\r\nz,c\r\n', ['z'], ['x,a\ry,b']],
    ['an LF in a file with CR', 'a,b\rx,a\ny\rz,c\r', ['z'], ['x,a\ny']],
    ['a CR LF in a file with CR', 'a,b\rx,a\r\nz,c\r', ['x'], ['\nz,c']],
    ['a CR at the end of a file with CR LF', 'a,b\r\nx,a\r\ny,b\r', ['x'], ['y,b\r']],
  ];
  for (const [title, text, rows, raws] of mixed) {
    it(`with one line break for the whole file: ${title}`, async () => {
      await bench.db.query('truncate t, bad restart identity');
      await bench.write({ 'in.csv': text });
      const { task } = await bench.load({ rejects: { max: 10, to: 'bad' } });
      expect(task?.error).to.equal(undefined);
      expect(await bench.db.query('select a from t')).to.deep.equal(rows.map((a) => ({ a })));
      const found = await bench.db.query<{ raw: string; reason: string }>('select raw, reason from bad');
      expect(found.map(({ raw }) => raw)).to.deep.equal(raws);
      expect(found[0]?.reason).to.match(/unquoted (?:newline|carriage return) found in data/);
    });
  }
});
