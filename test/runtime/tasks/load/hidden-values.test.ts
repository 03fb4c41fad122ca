import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dag } from '../../../../src/runtime/dag/dag.js';
import type { EtlError } from '../../../../src/errors.js';
import type { LoadSource } from '../../../../src/index.js';
import { buildErrorFields } from '../../../../src/runtime/report/words.js';
import { createDatabase, type TestDatabase } from '../../../support/database.js';
import { runOn } from '../../../support/run.js';

describe('an error about a row', () => {
  let db: TestDatabase;
  let root: string;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id int primary key, name text)');
    root = await mkdtemp(join(tmpdir(), 'etl-hidden-'));
  });
  after(async () => {
    await rm(root, { recursive: true });
    await db.drop();
  });

  /** Returns everything that a report shows without `showData`, with the causes of the error. */
  function listShown(error: EtlError): string {
    return JSON.stringify(buildErrorFields(error));
  }

  const merge = { mode: 'merge', key: ['id'] } as const;
  const inputs: readonly [
    title: string,
    file: string,
    text: string,
    options: Partial<LoadSource>,
    code: string,
  ][] = [
    ['a key that occurs twice', 'a.csv', 'id,name\n8675309,x\n8675309,y\n', merge, 'ETL-3517'],
    ['a line that is not an object', 'b.ndjson', '[8675309]\n', {}, 'ETL-3556'],
    ['a line with a bad token', 'c.ndjson', '{"id": 1, "name": x8675309}\n', {}, 'ETL-3556'],
    ['a line that is a word', 'd.ndjson', 'x8675309\n', {}, 'ETL-3556'],
    ['a line that ends early', 'e.ndjson', '{"id": 8675309, "name": "8675309\n', {}, 'ETL-3556'],
    [
      'a line with a large number and a bad token',
      'f.ndjson',
      '{"id": 1e400, "name": x8675309}\n',
      {},
      'ETL-3556',
    ],
    ['a document that is a word', 'g.json', 'x8675309', {}, 'ETL-3556'],
    ['a document with a bad token', 'h.json', '[{"id": 1, "name": x8675309}]', {}, 'ETL-3556'],
    ['a document with text after its end', 'i.json', '[{"id": 1}] x8675309', {}, 'ETL-3556'],
    ['a value that the server refuses', 'j.csv', 'id,name\nx8675309,y\n', {}, 'ETL-3001'],
    ['a value that no integer column holds', 'k.csv', 'id,name\n86753098675309,y\n', {}, 'ETL-3001'],
  ];
  for (const [title, file, text, options, code] of inputs) {
    it(`shows a value of the row only as row data: ${title}`, async () => {
      await writeFile(join(root, file), text);
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.load('in', { from: file, into: 't', mode: 'append', ...options });
      });
      const error = (await runOn({ db: db.url }, graph, { root })).tasks[0]?.error as EtlError;
      expect(error.code).to.equal(code);
      expect(listShown(error)).to.not.include('8675309');
      if (!text.endsWith('"8675309\n')) expect(error.rowData).to.include('8675309');
    });
  }

  it('shows a value that Parquet can not hold only as row data', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.unload('out', { query: "select 'NaN'::numeric(5,2) as amount", to: 'o.parquet' });
    });
    const error = (await runOn({ db: db.url }, graph, { root })).tasks[0]?.error as EtlError;
    expect(error.code).to.equal('ETL-3606');
    expect(listShown(error)).to.include('amount').and.not.include('NaN');
    expect(error.rowData).to.equal('NaN');
  });
});
