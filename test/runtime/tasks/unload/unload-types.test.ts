import { expect } from 'chai';
import { z } from 'zod';
import { dag, EtlError, type UnloadResult } from '../../../../src/index.js';

describe('the options of an unload task', () => {
  it('have typed context, params, upstream and result', () => {
    const options = {
      schedule: '@daily',
      startDate: '2026-01-01',
      params: z.object({ region: z.string() }),
      defaults: { conn: 'shop' },
    } as const;
    const graph = dag('d', options, (d) => {
      const first = d.unload('first', {
        query: ({ interval, params }) => ({ text: 'select $1, $2', values: [interval.start, params.region] }),
        to: ({ interval }) => `out/${interval.start.toISOString().slice(0, 10)}.csv.gz`,
        csv: { delimiter: ';' },
        partition: { rows: 1000 },
      });
      d.task('after', { needs: { first } }, async ({ upstream }) => {
        const result: UnloadResult = upstream.first;
        return result.files.length;
      });
      // @ts-expect-error -- params has no such field
      d.unload('a', { query: ({ params }) => params.nothing, to: 'o.csv' });
      // @ts-expect-error -- a check would come after the file
      expect(() => d.unload('b', { table: 't', to: 'o.csv', checks: [] })).to.throw(EtlError);
      // @ts-expect-error -- not a format
      expect(() => d.unload('c', { table: 't', to: 'o.csv', format: 'xml' })).to.throw(EtlError);
    });
    expect(graph.tasks.map(({ id }) => id)).to.deep.equal(['first', 'after', 'a']);
  });

  const wrong: readonly [options: object, what: RegExp][] = [
    [{ table: 't' }, /needs `to`/],
    [{ to: 'o.csv' }, /either `query` or `table`/],
    [{ to: 'o.csv', query: 'select 1', table: 't' }, /either `query` or `table`/],
    [{ table: 't', to: '' }, /`to` to be a text that is not empty, or a function/],
    [{ table: 't', to: 'o' }, /the format of the file "o" is not known/],
    [{ table: 't', to: 'o.gz' }, /the format of the file "o.gz" is not known/],
    [{ table: 't', to: 's3://key:secret@bucket/o.csv' }, /can't be unloaded to an address \(s3:/],
    [{ table: 't', to: 'o.parquet', csv: {} }, /`csv` is for CSV files/],
    [{ table: 't', to: 'o.csv', csv: { delimiter: ', ' } }, /`csv.delimiter` to be one ASCII character/],
    [{ table: 't', to: 'o.csv', csv: { quote: 'x' } }, /`csv.quote` to be one ASCII character/],
    [
      { table: 't', to: 'o.csv', csv: { delimiter: '"' } },
      /`csv` to be an object whose `delimiter` and `quote` differ/,
    ],
    [{ table: 't', to: 'o.csv', partition: {} }, /`partition` to be either/],
    [{ table: 't', to: 'o.csv', partition: { rows: 1, by: 'x' } }, /`partition` to be either/],
    [{ table: 't', to: 'o.csv', partition: { rows: 0 } }, /`partition.rows`|a whole number from 1/],
  ];
  for (const [options, what] of wrong) {
    it(`are refused when the Dag is defined: ${JSON.stringify(options)}`, () => {
      const define = () =>
        dag('d', { defaults: { conn: 'db' } }, (d) => void d.unload('u', options as never));
      expect(define).to.throw(EtlError, what).with.property('code', 'ETL-2303');
    });
  }
});
