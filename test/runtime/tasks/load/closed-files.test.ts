import { expect } from 'chai';
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dag } from '../../../../src/runtime/dag/dag.js';
import type { LoadSource } from '../../../../src/index.js';
import { createDatabase, type TestDatabase } from '../../../support/database.js';
import { runOn } from '../../../support/run.js';

describe('a load that fails', () => {
  let db: TestDatabase;
  let root: string;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id int, name text)');
    root = await mkdtemp(join(tmpdir(), 'etl-closed-'));
  });
  after(async () => {
    await rm(root, { recursive: true });
    await db.drop();
  });

  /** Lists the open files of this process that are in the folder of the test. */
  async function listOpenFiles(): Promise<readonly string[]> {
    const links = (await readdir('/proc/self/fd')).map((fd) =>
      readlink(`/proc/self/fd/${fd}`).catch(() => ''),
    );
    return (await Promise.all(links)).filter((path) => path.startsWith(root));
  }

  const transform: LoadSource['transform'] = (row) => row;
  const long = 'x'.repeat(200_000);
  const failures: readonly [title: string, file: string, text: string, options: Partial<LoadSource>][] = [
    ['a name that occurs twice, with a transform', 'a.csv', 'id,id\n1,2\n', { transform }],
    ['a name that is empty, with a transform', 'b.csv', 'id,\n1,2\n', { transform }],
    ['a name that occurs twice', 'c.csv', 'id,id\n1,2\n', {}],
    ['a header that is not UTF-8, with a transform', 'd.csv', 'id,\u00ff\n', { transform }],
    ['an unknown column, with a transform', 'e.csv', `id,nope\n1,${long}\n`, { transform }],
    ['a row with too many fields', 'f.csv', `id,name\n1,2,3\n1,${long}\n`, { transform }],
    [
      'a transform that throws',
      'g.csv',
      `id,name\n1,${long}\n`,
      {
        transform: () => {
          throw new Error('no');
        },
      },
    ],
    ['a value that the server refuses', 'h.csv', `id,name\nx,${long}\n`, {}],
    ['a first line that is not JSON', 'i.ndjson', `nope\n{"id":1,"name":"${long}"}\n`, {}],
    ['a JSON line with an unknown column', 'j.ndjson', `{"nope":1}\n{"id":1,"name":"${long}"}\n`, {}],
    ['a file that is not Parquet', 'k.parquet', 'not parquet', {}],
    ['a file that is not gzip', 'l.csv.gz', 'not gzip', {}],
  ];
  for (const [title, file, text, options] of failures) {
    it(`closes its file: ${title}`, async () => {
      await writeFile(join(root, file), text, 'latin1');
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.load('in', { from: file, into: 't', mode: 'append', ...options });
      });
      const { state } = await runOn({ db: db.url }, graph, { root });
      expect(state).to.equal('failed');
      expect(await listOpenFiles()).to.deep.equal([]);
    });
  }
});
