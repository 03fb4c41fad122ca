import { expect } from 'chai';
import { EtlError } from '../../../src/errors.js';
import { encodeRows, type RowOptions } from '../../../src/runtime/format/encoded-rows.js';
import { type Encoding, findEncoding } from '../../../src/runtime/format/encodings.js';
import type { InputFile, InputRows } from '../../../src/runtime/input/input.js';

function file(name: string, text: string | Buffer): InputFile {
  return {
    name,
    async *chunks() {
      yield Buffer.from(text);
    },
  };
}

function rows(...batches: readonly Record<string, unknown>[][]): InputRows {
  return {
    name: 'code',
    async *rows() {
      yield* batches;
    },
  };
}

async function encode(input: InputFile | InputRows, options?: RowOptions) {
  const found = await encodeRows(input, options);
  const parts: Buffer[] = [];
  for await (const chunk of found?.chunks(new Map(), false) ?? []) parts.push(chunk);
  return {
    columns: found?.columns.map(({ name, type }) => `${name} ${type}`),
    text: Buffer.concat(parts).toString(),
  };
}

describe('encodeRows', () => {
  it('encodes a CSV file with a header', async () => {
    expect(await encode(file('a.csv', 'id,"the name"\n1,x\n2,""\n3,\n'))).to.deep.equal({
      columns: ['id bigint', 'the name text'],
      text: '1\tx\n2\t\n3\t\\N\n',
    });
  });

  it('encodes a CSV file without a header', async () => {
    expect(await encode(file('a.csv', '1;x\n'), { csv: { header: false, columns: ['n', 't'], delimiter: ';' } })).to.deep.equal({ columns: ['n bigint', 't text'], text: '1\tx\n' }); // prettier-ignore
  });

  it('reads a CSV file in the encoding of the options', async () => {
    const latin = file('a.csv', Buffer.from('a\né\n', 'latin1'));
    expect((await encode(latin, { csv: { encoding: findEncoding('latin1') as Encoding } })).text).to.equal(
      'é\n',
    );
  });

  it('encodes an NDJSON file', async () => {
    const text = '{"a":1,"b":{"x":[1]}}\n{"b":null,"a":12345678901234567890}\n';
    expect(await encode(file('a.ndjson', text))).to.deep.equal({
      columns: ['a numeric', 'b jsonb'],
      text: '1\t{"x":[1]}\n12345678901234567890\t\\N\n',
    });
  });

  it('applies a transform that returns one row, several rows or no row', async () => {
    const transform: RowOptions['transform'] = (row) => {
      const n = Number(row['n']);
      if (n === 1) return undefined;
      return n === 2 ? [{ n, half: 1 }, { n, half: 1.5 }] : { n, half: n / 2 };
    }; // prettier-ignore
    expect(await encode(file('a.csv', 'n\n1\n2\n3\n'), { transform })).to.deep.equal({
      columns: ['n bigint', 'half double precision'],
      text: '2\t1\n2\t1.5\n3\t1.5\n',
    });
  });

  it('accepts any column names', async () => {
    const names = ['__proto__', 'constructor', 'a"b', "'; drop", '\u2028'];
    const header = names.map((name) => `"${name.replaceAll('"', '""')}"`).join(',');
    const { columns, text } = await encode(file('a.csv', `${header}\n1,2,3,4,5\n`));
    expect(columns).to.deep.equal(names.map((name) => `${name} bigint`));
    expect(text).to.equal('1\t2\t3\t4\t5\n');
  });

  it('sends no rows for an empty input', async () => {
    expect(await encode(file('a.csv', ''))).to.deep.equal({ columns: undefined, text: '' });
    expect(await encode(rows())).to.deep.equal({ columns: undefined, text: '' });
    expect(await encode(file('a.csv', 'a,b\n'))).to.deep.equal({ columns: ['a text', 'b text'], text: '' });
  });

  const throwing = (): never => {
    throw new Error('no');
  };
  const late = { rows: (n: number) => Array.from({ length: n }, (_, a) => ({ a })) };
  const refused: readonly [title: string, input: InputFile | InputRows, options: RowOptions, code: string, where: string][] = [
    ['a record with a field too many', file('a.csv', 'a\n"1\n2"\n3,4\n'), {}, 'ETL-3555', 'a.csv, line 4'],
    ['a record with a field too few', file('a.csv', 'a,b\n1,2\n3\n'), {}, 'ETL-3555', 'a.csv, line 3'],
    ['two columns with one name', file('a.csv', 'a,a\n'), {}, 'ETL-3503', 'undefined'],
    ['bytes that are not UTF-8', file('a.csv', Buffer.from([97, 10, 98, 0xff])), {}, 'ETL-3554', 'a.csv, at byte 3'],
    ['a character that is cut off at the end', file('a.csv', Buffer.from([97, 10, 0xc3])), {}, 'ETL-3554', 'a.csv, at byte 2'],
    ['a transform that throws', file('a.csv', 'a\n1\n'), { transform: throwing }, 'ETL-3559', 'a.csv, line 2'],
    ['a transform that returns a promise', file('a.csv', 'a\n1\n'), { transform: (async () => ({})) as never }, 'ETL-3559', 'a.csv, line 2'],
    ['a transform that returns a text', rows([{ a: 1 }, { a: 2 }]), { transform: () => 'a' as never }, 'ETL-3559', 'code, row 1'],
    ['a value that can not be encoded', file('a.csv', 'a\n1\n2\n'), { transform: ({ a }) => (a === '1' ? [] : { a: new Map() }) }, 'ETL-3558', 'a.csv, line 3'],
    ['a property that the first 1,000 rows do not have', rows(late.rows(1000), [{ a: 1 }, { a: 1, extra: 2 }]), {}, 'ETL-3561', 'code, row 1002'],
  ]; // prettier-ignore
  for (const [title, input, options, code, where] of refused) {
    it(`refuses ${title}`, async () => {
      const error = (await encode(input, options).catch((reason: unknown) => reason)) as EtlError;
      expect(error).to.be.instanceOf(EtlError);
      expect([error.code, String(error.where)]).to.deep.equal([code, where]);
    });
  }
});
