import { expect } from 'chai';
import { Readable } from 'node:stream';
import { parquetWriteBuffer } from 'hyparquet-writer';
import type { LoadSource } from '../../../../src/runtime/tasks/load/load-input.js';
import { openWorkbench, type Workbench } from './workbench.js';

/** The names of the properties that every object inherits. */
const NAMES = Object.getOwnPropertyNames(Object.prototype);

describe('columns whose names every object inherits', () => {
  let bench: Workbench;
  before(async () => (bench = await openWorkbench()));
  after(() => bench[Symbol.asyncDispose]());

  const identifiers = NAMES.map((name) => `"${name}"`);
  /** The first row has no such name, so that no value is NULL. The second row has all of them. */
  const full = JSON.stringify(NAMES).slice(1, -1).split(',').map((name) => `${name}:${name}`).join(','); // prettier-ignore
  const ndjson = `{"id":1}\n{"id":2,${full}}\n{"id":3}\n`;
  const csv = `id,${NAMES.join(',')}\n1${','.repeat(NAMES.length)}\n2,${NAMES.join(',')}\n3${','.repeat(NAMES.length)}\n`;
  const rows = (): object[] => ndjson.trim().split('\n').map((line) => JSON.parse(line) as object); // prettier-ignore
  const parquet = (): Buffer =>
    Buffer.from(
      parquetWriteBuffer({
        columnData: [
          { name: 'id', data: [1, 2, 3], type: 'INT32' },
          ...NAMES.map((name) => ({ name, data: [null, name, null], type: 'STRING' as const })),
        ],
      }),
    );

  const inputs: readonly [title: string, source: () => Partial<LoadSource>][] = [
    ['NDJSON', () => ({ from: 'in.ndjson' })],
    ['CSV', () => ({ from: 'in.csv' })],
    ['Parquet', () => ({ from: 'in.parquet' })],
    ['rows', () => ({ from: rows() })],
    ['a stream of rows', () => ({ from: () => Readable.from(rows()) })],
  ];
  const options: readonly [title: string, source: Partial<LoadSource>][] = [
    ['as they are', {}],
    ['with a transform', { transform: (row) => row }],
    ['with a transform that copies', { transform: (row) => ({ ...row }) }],
    ['with `discard`', { schema: 'discard' }],
    ['with `evolve`', { schema: 'evolve' }],
    ['with `rejects`', { rejects: { max: 0, to: 'bad' } }],
    ['with `create`', { create: true }],
  ];
  for (const [input, source] of inputs) {
    for (const [title, option] of options) {
      it(`are loaded from ${input} ${title}, and are NULL where a row does not have them`, async () => {
        await bench.write({ 'in.ndjson': ndjson, 'in.csv': csv, 'in.parquet': parquet() });
        await bench.db.query('drop table if exists t');
        const evolves = option.schema === 'evolve';
        if (option.create !== true)
          await bench.db.query(
            `create table t (id int${evolves ? '' : identifiers.map((name) => `, ${name} text`).join('')})`,
          );
        const { task } = await bench.load({ ...source(), ...option });
        expect(task?.error).to.equal(undefined);
        const stored = await bench.db.query<{ values: (string | null)[] }>(
          `select array[${identifiers.map((name) => `${name}::text`).join(', ')}] as values from t order by id`,
        );
        const none = NAMES.map(() => null);
        expect(stored.map(({ values }) => values)).to.deep.equal([none, NAMES, none]);
      });
    }
  }
});
