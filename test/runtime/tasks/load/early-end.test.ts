import { expect } from 'chai';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import { dag } from '../../../../src/runtime/dag/dag.js';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { openWorkbench, type Workbench } from './workbench.js';

const TEXT = `id,name\n${Array.from({ length: 50_000 }, (_, id) => `${id},name ${id}\n`).join('')}`;
const PACKED = zlib.gzipSync(TEXT);

describe('a load whose input ends early', () => {
  let bench: Workbench;
  let server: Server;
  let from: string;
  /** The number of bytes of each answer. The next answers are whole. */
  let cuts: number[] = [];
  before(async () => {
    bench = await openWorkbench();
    server = createServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(PACKED.subarray(0, cuts.shift()));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    from = `http://127.0.0.1:${(server.address() as AddressInfo).port}/in.csv`;
  });
  after(async () => {
    server.close();
    await bench[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await bench.db.query('drop table if exists t, bad');
    await bench.db.query('create table t (id int primary key, name text)');
    await bench.db.query(`insert into t values (-1, 'old')`);
  });

  const ways: readonly [title: string, source: Partial<LoadSource>][] = [
    ['append', { mode: 'append' }],
    ['replace', { mode: 'replace' }],
    ['merge and delete', { mode: 'merge', key: ['id'], deleteMissing: true }],
    ['reject', { mode: 'append', rejects: { max: 10, to: 'bad' } }],
    ['transform', { mode: 'replace', transform: (row) => row }],
  ];
  for (const [title, source] of ways) {
    it(`keeps nothing of an answer whose compressed data is cut, with ${title}`, async () => {
      cuts = [Math.floor(PACKED.length * 0.6)];
      const { task } = await bench.load({ ...source, from });
      expect(task?.error).to.include({ code: 'ETL-3552', data: '"l" wrote nothing' });
      expect(await bench.db.query('select * from t')).to.deep.equal([{ id: -1, name: 'old' }]);
    });
  }

  it('keeps nothing of a file that another program cuts meanwhile', async () => {
    await bench.write({ 'in.csv': TEXT });
    const transform = (row: Record<string, unknown>) => {
      if (row['id'] === '0') truncateSync(join(bench.root, 'in.csv'), 300_000);
      return row;
    };
    const { task } = await bench.load({ mode: 'replace', transform });
    expect(task?.error).to.include({ code: 'ETL-3571', data: '"l" wrote nothing' });
    expect(await bench.db.query('select * from t')).to.deep.equal([{ id: -1, name: 'old' }]);
  });

  it('reads the input again with `retries`', async () => {
    cuts = [100, PACKED.length - 1];
    const { task } = await bench.run(
      dag('d', { defaults: { conn: 'db', retries: 2, backoff: { initial: '1ms' } } }, (d) => {
        d.load('l', { from, into: 't', mode: 'replace' });
      }),
    );
    expect(task).to.include({ state: 'success', attempts: 3 });
    expect(await bench.db.query('select count(*)::int as n from t')).to.deep.equal([{ n: 50_000 }]);
  });
});
