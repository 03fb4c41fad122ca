import { expect } from 'chai';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { giveBack, copyBytes, takeChunk } from '../../../src/hooks/chunks.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

describe('a chunk of memory', () => {
  const BYTES = 12_345;

  it('is used again after any part of it was given back', () => {
    const chunk = takeChunk(BYTES);
    expect(takeChunk(BYTES).buffer).to.not.equal(chunk.buffer);
    giveBack(chunk.subarray(10, 20));
    expect(takeChunk(BYTES)).to.equal(chunk);
  });

  it('is used again only once if it was given back twice', () => {
    const chunk = takeChunk(BYTES);
    giveBack(chunk);
    giveBack(chunk);
    expect(takeChunk(BYTES)).to.equal(chunk);
    expect(takeChunk(BYTES)).to.not.equal(chunk);
  });

  it('is not used again if it is memory from elsewhere', () => {
    const foreign = Buffer.alloc(BYTES);
    giveBack(foreign);
    expect(takeChunk(BYTES)).to.not.equal(foreign);
  });

  it('is not the memory of its copy', () => {
    const chunk = takeChunk(BYTES).fill('a');
    const copy = copyBytes(chunk.subarray(0, 3));
    takeChunk(BYTES).fill('b');
    expect(copy.toString()).to.equal('aaa');
  });
});

describe('bulk tasks that run at the same time', () => {
  let db: TestDatabase;
  let folder: string;
  before(async () => {
    db = await createDatabase();
    folder = await mkdtemp(join(tmpdir(), 'etl-memory-'));
    await db.query(`
      create table source (id int primary key, v text);
      insert into source select i, repeat(md5(i::text), 1 + i % 40) from generate_series(1, 40000) i;`);
    for (const name of ['a', 'b', 'c', 'd']) await db.query(`create table ${name} (id int, v text)`);
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
    await db.drop();
  });

  it('do not mix their bytes', async () => {
    const url = { db: db.url, from: db.url };
    const file = (name: string): string => join(folder, `${name}.csv`);
    const all = dag('all', { defaults: { conn: 'db', retries: 0 } }, (d) => {
      const query = 'select * from source order by id';
      const unloaded = d.unload('first', { query, to: file('first') });
      const needs = [unloaded];
      d.transfer('a', { needs, from: 'from', table: 'source', into: 'a', mode: 'append' });
      d.transfer('b', { needs, from: 'from', table: 'source', into: 'b', mode: 'append' });
      d.load('c', { needs, from: file('first'), into: 'c', mode: 'append' });
      d.load('d', { needs, from: file('first'), into: 'd', mode: 'append', rejects: { max: 1, to: 'bad' } });
      d.unload('second', { needs, query, to: file('second') });
      d.unload('third', { needs, query, to: `${file('third')}.gz` });
      d.session('rows', { needs }, async ({ session }) => {
        const hash = createHash('md5');
        for await (const row of session.rows<{ v: string }>(query)) hash.update(row.v);
        return hash.digest('hex');
      });
    });
    const { state } = await runOn(url, all, { concurrency: 8 });
    expect(state).to.equal('success');
    const digest = (table: string): string =>
      `select md5(string_agg(v, '' order by id)) as md5 from ${table}`;
    const [expected] = await db.query<{ md5: string }>(digest('source'));
    for (const table of ['a', 'b', 'c', 'd'])
      expect(await db.query(digest(table)), table).to.deep.equal([expected]);
    expect(await readFile(file('second'), 'utf8')).to.equal(await readFile(file('first'), 'utf8'));
    const rows = await db.query(`select result #>> '{}' as md5 from etl.task where task_id = 'rows'`);
    expect(rows).to.deep.equal([expected]);
  });
});
