import { expect } from 'chai';
import { canFit } from '../../../../src/runtime/tasks/load/type-family.js';
import { refuseEndMark } from '../../../../src/runtime/tasks/load/end-mark.js';
import { openWorkbench, type Workbench } from './workbench.js';

describe('the schema contract of a load', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(async () => {
    await bench.db.query('drop table if exists t, made');
    await bench.db.query('create table t (id int primary key, a text)');
  });

  const logs = (events: Awaited<ReturnType<Workbench['load']>>['events']) =>
    events.flatMap((event) => (event.type === 'task_log' ? [event.message] : []));

  it('refuses a column that the table does not have before a row is sent', async () => {
    await bench.write({ 'in.csv': 'id,b\nnonsense,1\n' });
    const { task } = await bench.load();
    expect(task?.error).to.include({ code: 'ETL-3513' });
    expect(task?.error?.message).to.include('does not have the column "b"');
  });

  it('adds a missing column with `evolve`, and logs the statement', async () => {
    await bench.write({ 'in.csv': 'id,b b\n1,x\n' });
    const { task, events } = await bench.load({ schema: 'evolve' });
    expect(task?.error).to.equal(undefined);
    expect(logs(events)).to.deep.equal(['alter table "t" add column "b b" text']);
    expect(await bench.db.query('select * from t')).to.deep.equal([{ id: 1, a: null, 'b b': 'x' }]);
  });

  it('creates the table and its primary key with `create`, and does not change the table in the next run', async () => {
    await bench.write({ 'in.csv': 'Id,a\n1,x\n' });
    const source = { into: 'made', create: true, mode: 'merge', key: ['Id'] } as const;
    const { task, events } = await bench.load(source);
    expect(task?.error).to.equal(undefined);
    expect(logs(events).join()).to.match(
      /^create table "made" \("Id" \w+ ?, "a" text, primary key \("Id"\)\)$/,
    );
    const again = await bench.load(source);
    expect(logs(again.events)).to.deep.equal([]);
    expect(again.result).to.include({ rows: 1, inserted: 0, updated: 0 });
  });

  it('creates no table from an empty file', async () => {
    await bench.write({ 'in.csv': '' });
    const { task } = await bench.load({ into: 'made', create: true });
    expect(task?.error?.code).to.equal('ETL-3511');
  });

  it('accepts a type whose values can fit the column, and refuses a type whose values never fit', () => {
    expect(canFit('bigint', 'smallint')).to.equal(true);
    expect(canFit('boolean', 'integer')).to.equal(false);
    expect(canFit('text', 'integer')).to.equal(true);
    expect(canFit('integer', 'some_domain')).to.equal(true);
  });
});

describe('a line `\\.` in a CSV file for a server before PostgreSQL 18', () => {
  const pass = async (...texts: string[]): Promise<string> => {
    let passed = '';
    const chunks = (async function* () {
      for (const text of texts) yield Buffer.from(text);
    })();
    for await (const chunk of refuseEndMark(chunks, 'in.csv')) passed += chunk.toString();
    return passed;
  };

  const marked: readonly string[][] = [
    ['a\n\\.\nb\n'],
    ['\\.\nb'],
    ['a\n\\.'],
    ['a\r\n\\.\r\nb'],
    ['a\n', '\\', '.', '\n'],
    ['a', '\n\\', '.\nb'],
    ['a\n\\.', '\nb'],
  ];
  for (const texts of marked) {
    it(`is refused in the chunks ${JSON.stringify(texts)}`, async () => {
      const error: unknown = await pass(...texts).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).to.include({ code: 'ETL-3504' });
    });
  }

  for (const texts of [['a\n"\\."\nb'], ['a\\.\nb'], ['\\.x\n'], ['a\n\\', 'n.\n'], ['', 'x']]) {
    it(`is not found in the chunks ${JSON.stringify(texts)}`, async () => {
      expect(await pass(...texts)).to.equal(texts.join(''));
    });
  }
});
