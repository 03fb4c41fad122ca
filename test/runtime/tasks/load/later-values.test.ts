import { expect } from 'chai';
import { Readable } from 'node:stream';
import { inspect } from 'node:util';
import { inferColumns } from '../../../../src/runtime/format/infer.js';
import { dag } from '../../../../src/runtime/dag/dag.js';
import type { LaterValue } from '../../../../src/runtime/format/later-value.js';
import { UTF8 } from '../../../../src/runtime/format/encodings.js';
import { parseCsvFormat, readQuoting } from '../../../../src/runtime/tasks/load/csv-format.js';
import { NO_HEADER } from '../../../../src/runtime/tasks/load/feed.js';
import { checkLaterRecords } from '../../../../src/runtime/tasks/load/later-records.js';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { runOn } from '../../../support/run.js';
import { openWorkbench, type Workbench } from './workbench.js';

/** A text of each type that inference can find in a text, as CSV has it. */
const FIRST: Readonly<Record<string, string>> = {
  boolean: 'true',
  bigint: '1',
  numeric: '1.5',
  date: '2026-01-31',
  'timestamp without time zone': '2026-01-31 10:00:00',
  'timestamp with time zone': '2026-01-31 10:00:00+00',
  uuid: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  jsonb: '{"a":1}',
  json: '{"a":1,"a":2}',
};

/** Texts that PostgreSQL reads in several ways. */
const LATER = [
  '007', '00', '-007', '+5', '0x1F', '0o17', '0b11', '1_000', ' 5', '5 ', '\t5', '5\n', '5', '-5', '1E5', '1e+5', '1.0E10', '.5', '5.', '1.50', '-0',
  'NaN', 'nan', 'Infinity', 'inf', '-Infinity', '+Infinity', '1', '0', 't', 'f', 'yes', 'of', 'TRUE', 'False', ' true', 'on', 'n',
  '20260131', '2026-1-5', '2026-01-31', '1/2/2026', '31 Jan 2026', 'J2451187', '2026.031', 'today', 'now', 'epoch', 'infinity', '-infinity',
  '2026-01-31 BC', '10000-01-01', ' 2026-01-31', '2026-01-31 10:00', '2026-01-31T10:00:00', '2026-01-31 24:00:00',
  '2026-01-31 10:00:00.1234567', '2026-01-31 10:00:60', '2026-01-31 10:00:00+02', '2026-01-31 10:00:00Z', '2026-01-31 10:00 Europe/Berlin',
  '2026-01-31 10:00 PM', 'allballs', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc999c0b4ef8bb6d6bb9bd380a11', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}',
  '{"a":1,"a":2}', '{"a":2}', ' {"a":2}', '[]', '"x"', 'null', 'true', '{"a":"\\u0000"}', '{"a":1e9999}', 'x', '',
]; // prettier-ignore

/** A header and 1,000 rows of at least 256 KiB, so that a later row is in no sample. */
const makeHead = (first: string, delimiter: string): string =>
  `v${delimiter}p\n${`${quote(first)}${delimiter}${'x'.repeat(270)}\n`.repeat(1000)}`;
const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`;

/** The ways on which texts reach a new column whose type is inferred from the rows before. */
const WAYS: Readonly<Record<string, (first: string, later: string) => Partial<LoadSource>>> = {
  'CSV that the server parses': (first, later) => ({
    from: () => Readable.from([Buffer.from(makeHead(first, ',')), Buffer.from(`${quote(later)},y\n`)]),
  }),
  'CSV without quotes': (first, later) => ({
    from: () =>
      Readable.from([
        Buffer.from(makeHead(first, '|')),
        Buffer.from(`${/[\n"]/.test(later) ? quote(later) : later}|y`),
      ]),
    csv: { delimiter: '|' },
  }),
  'CSV with a transform': (first, later) => ({
    from: () => Readable.from([Buffer.from(makeHead(first, ',')), Buffer.from(`${quote(later)},y\n`)]),
    transform: (row) => row,
  }),
};

interface Outcome {
  readonly error?: string;
  readonly row?: string | undefined;
}

describe('a later value of a column whose type was inferred', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());

  const inferType = (texts: readonly string[]) =>
    inferColumns(
      texts.map((v) => ({ v })),
      { strings: 'text', names: ['v'] },
    )[0]?.type;

  for (const [way, makeSource] of Object.entries(WAYS)) {
    const isFirst = way === Object.keys(WAYS)[0];
    for (const [type, first] of Object.entries(FIRST)) {
      // The other ways differ in how they find the texts, not in the types.
      if (!isFirst && !['bigint', 'date', 'jsonb'].includes(type)) continue;
      it(`is stored as it was, or stops the load with its line: ${type} in ${way}`, async () => {
        await bench.db.query('drop schema if exists s cascade; create schema s');
        const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
          for (const [i, later] of LATER.entries()) {
            const source = makeSource(first, later);
            d.load(`l${i}`, { into: `s.t${i}`, mode: 'append', create: true, ...source } as LoadSource);
          }
        });
        const { tasks } = await runOn({ db: bench.db.url }, graph, { root: bench.root });
        let kept = 0;
        for (const [i, later] of LATER.entries()) {
          const error = tasks.find(({ taskId }) => taskId === `l${i}`)?.error;
          const label = `${JSON.stringify(later)} as ${type}`;
          if (error !== undefined && (error.code === 'ETL-3519' || type !== 'json')) {
            expect(`${error.code} ${error.where}`, label).to.match(/^ETL-3519 the stream, line 1002/);
            expect(error.what, label).to.include('column "v"').and.to.include(type);
          } else if (error === undefined) {
            kept++;
            const [row] = await bench.db.query<{ v: string | null }>(
              `select v::text from s.t${i} offset 1000`,
            );
            const expected = later === '' && way === 'CSV without quotes' ? null : later;
            if (inferType([first, later]) !== type) expect(row?.v, label).to.equal(expected);
          }
        }
        expect(kept).to.be.greaterThan(0);
      });
    }
  }

  /** Loads 1,000 times the first value and then the later value, for each later value, into a table of its own. */
  const loadAll = async (
    count: number,
    makeSource: (index: number) => Pick<LoadSource, 'from' | 'format' | 'rejects'>,
  ): Promise<readonly Outcome[]> => {
    await bench.db.query('drop schema if exists s cascade; create schema s');
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      for (let i = 0; i < count; i++)
        d.load(`l${i}`, { into: `s.t${i}`, mode: 'append', create: true, ...makeSource(i) });
    });
    const { tasks } = await runOn({ db: bench.db.url }, graph, { root: bench.root });
    const outcomes: Outcome[] = [];
    for (let i = 0; i < count; i++) {
      const error = tasks.find(({ taskId }) => taskId === `l${i}`)?.error;
      if (error === undefined) {
        const [stored] = await bench.db.query<{ v: string }>(`select v::text from s.t${i} offset 1000`);
        outcomes.push({ row: stored?.v });
      } else outcomes.push({ error: `${error.code} ${error.where?.split('\n')[0]}` });
    }
    return outcomes;
  };

  it('is found in the first row of a second file, whose fields have another order', async () => {
    await bench.db.query('drop table if exists t');
    await bench.write({ 'a.csv': 'v,p\n1,x\n', 'b.csv': 'p,v\n"x\ny",1\ny,007\n' });
    const { task } = await bench.load({ from: ['a.csv', 'b.csv'], create: true });
    expect(`${task?.error?.code} ${task?.error?.where}`).to.match(/^ETL-3519 b\.csv, line 4/);
    expect(await bench.db.query(`select to_regclass('t') as t`)).to.deep.equal([{ t: null }]);
  });

  it('is found in a column that `evolve` adds, and not in one that the table had', async () => {
    await bench.db.query('drop table if exists t; create table t (old int)');
    await bench.write({ 'a.csv': 'old,v\n1,2\n', 'b.csv': 'old,v\n+7,3\n', 'c.csv': 'old,v\n8,+7\n' });
    const from = ['a.csv', 'b.csv', 'c.csv'];
    const { task } = await bench.load({ from, schema: 'evolve' });
    expect(`${task?.error?.code} ${task?.error?.where}`).to.match(/^ETL-3519 c\.csv, line 2/);
    expect((await bench.load({ from: from.slice(0, 2), schema: 'evolve' })).task?.state).to.equal('success');
    expect(await bench.db.query('select * from t')).to.deep.equal([
      { old: 1, v: '2' },
      { old: 7, v: '3' },
    ]);
  });

  for (const [name, source] of Object.entries({
    csv: {},
    transform: { transform: (row: object) => ({ ...row }) },
  })) {
    it(`is put aside if the server refuses it, and stops the load if the server would change it: ${name}`, async () => {
      await bench.db.query('drop table if exists t');
      const options = {
        create: true,
        from: ['a.csv', 'b.csv'],
        rejects: { max: 9, to: 'r.ndjson' },
        ...source,
      };
      await bench.write({ 'a.csv': 'v,p\n1,x\n', 'b.csv': 'v,p\nx,1\n2,1\n1.5,1\n' });
      const { result } = await bench.load(options);
      expect(result).to.include({ rows: 2, rejected: 2 });
      await bench.db.query('drop table t');
      await bench.write({ 'b.csv': 'v,p\nx,1\n2,1\n007,1\n' });
      const { task } = await bench.load(options);
      expect(`${task?.error?.code} ${task?.error?.where}`).to.match(/^ETL-3519 b\.csv, line 4/);
    });
  }

  it('is found after records of any form, at every cut of the file into chunks', async () => {
    const csv = parseCsvFormat();
    const records = {
      options: '',
      header: NO_HEADER,
      hasFirstLine: true,
      quoting: readQuoting(csv),
      encoding: UTF8,
    };
    const file = { name: 'f.csv', names: ['id', 'note', 'v'], syntax: csv, records };
    const columns = [
      { name: 'id', type: 'bigint' },
      { name: 'v', type: 'numeric' },
    ];
    const bytes = Buffer.from('4,"\n\n",1\n"5",é,"3"\n6,,\n007,"é",\n7,x,1_0\n8,"a""b",1e+5\n9,y,"0x1"');
    const refused = ['id 007 6', 'v 1_0 7', 'v 0x1 9'];
    for (let cut = 0; cut <= bytes.length; cut++) {
      const found: string[] = [];
      const sent: Buffer[] = [];
      const chunks = (async function* () {
        yield bytes.subarray(0, cut);
        yield bytes.subarray(cut);
      })();
      const refuse = async ({ name, text, where }: LaterValue): Promise<void> =>
        void found.push(`${name} ${text} ${where.replace('f.csv, line ', '')}`);
      for await (const chunk of checkLaterRecords(chunks, file, { columns, refuse })) sent.push(chunk);
      expect(found, `cut ${cut}`).to.deep.equal(refused);
      expect(Buffer.concat(sent).equals(bytes)).to.equal(true);
    }
  });

  const tokens = [
    ...LATER.map((text) => JSON.stringify(text)),
    '7', '-7', '1.50', '1e5', '20260131', '9223372036854775808', 'true', 'false', '[1]', '{"a":2}', '{"a":1,"a":2}',
  ]; // prettier-ignore
  for (const [type, text] of Object.entries(FIRST)) {
    it(`is stored as it was, or stops the load with its line: ${type} in NDJSON`, async () => {
      const first = /^(?:boolean|bigint|numeric|jsonb?)$/.test(type) ? text : JSON.stringify(text);
      const outcomes = await loadAll(tokens.length, (i) => ({
        from: () => Readable.from([Buffer.from(`{"v":${first}}\n`.repeat(1000) + `{"v":${tokens[i]}}\n`)]),
        format: 'ndjson',
      }));
      for (const [i, { error, row }] of outcomes.entries()) {
        const token = tokens[i] ?? '';
        const label = `${token} as ${type}`;
        if (error !== undefined) {
          if (type !== 'json') expect(error, label).to.equal('ETL-3519 the stream, line 1001');
          continue;
        }
        const later: unknown = JSON.parse(token);
        if (type === 'json') expect(row, label).to.equal(token);
        else if (type === 'jsonb') expect(JSON.parse(row ?? ''), label).to.deep.equal(later);
        else if (typeof later === 'string') {
          if (inferType([text, later]) !== type) expect(row, label).to.equal(later);
        } else if (typeof later === 'number') expect(Number(row), label).to.equal(later);
        else expect(row, label).to.equal(token);
      }
    });
  }

  const bytes = Buffer.from([0, 255]);
  const day = new Date('2026-01-31T10:00:00.123Z');
  const values: readonly unknown[] = [
    7, 0.5, 2 ** 60, 1e300, NaN, Infinity, 7n, 2n ** 60n + 1n, 2n ** 70n, true, day, bytes, '007', '5', '\\x61', 'abc', '2026-01-31 10:00',
    '2026-01-31', { a: 1 }, [1],
  ]; // prettier-ignore
  const strip = (text: string): string => text.replaceAll(/[ "]/g, '');
  /** The text that PostgreSQL has for a value of JavaScript. */
  const write = (value: unknown): string => {
    if (value === day) return '2026-01-31 10:00:00.123+00';
    if (value === bytes) return '\\x00ff';
    if (typeof value === 'string') return value;
    return typeof value === 'object' ? JSON.stringify(value) : inspect(value).replace(/n$/, '');
  };
  for (const first of [0.5, 7, 2n ** 70n, true, day, bytes, { a: 1 }] as const) {
    it(`is stored as it was, or stops the load with its number: rows that begin with ${write(first)}`, async () => {
      const outcomes = await loadAll(values.length, (i) => ({
        from: async function* () {
          for (let n = 0; n < 1000; n++) yield { v: first };
          yield { v: values[i] };
        },
      }));
      for (const [i, { error, row }] of outcomes.entries()) {
        const expected = write(values[i]);
        // JSON has no NaN and no bytes.
        if (error !== undefined) expect(error, expected).to.match(/^ETL-35(?:19|58) .*, row 1001$/);
        else if (typeof values[i] === 'number' || values[i] === 2n ** 70n)
          expect(Number(row), expected).to.deep.equal(Number(values[i]));
        else
          expect(row?.replaceAll(/[ "]/g, ''), expected).to.be.oneOf([
            strip(expected),
            strip(expected).replace('\\', '\\\\'),
            strip(JSON.stringify(day)),
          ]);
      }
    });
  }
});
