import { expect } from 'chai';
import { createNdjsonReporter } from '../../../src/runtime/report/ndjson-reporter.js';
import { openWorkbench, type Workbench } from '../tasks/load/workbench.js';

describe('the events of a run as JSON', () => {
  let bench: Workbench;
  before(async () => {
    bench = await openWorkbench();
    await bench.db.query('create table t (id int)');
    await bench.write({ 'in.csv': 'id\nx\n' });
  });
  after(() => bench[Symbol.asyncDispose]());

  for (const { title, from, error } of [
    {
      title: 'have the SQLSTATE of an error of the server',
      from: 'in.csv',
      error: { code: 'ETL-3001', sqlstate: '22P02' },
    },
    {
      title: 'have no SQLSTATE for an error of the file system',
      from: 'gone.csv',
      error: { code: 'ETL-3501', sqlstate: undefined },
    },
  ]) {
    it(title, async () => {
      const { events } = await bench.load({ from });
      const lines: string[] = [];
      const reporter = createNdjsonReporter((line) => lines.push(line), false);
      for (const event of events) reporter.report(event);
      const failed = lines
        .map((line) => JSON.parse(line) as { event: string; error?: Record<string, unknown> })
        .find((each) => each.error !== undefined);
      expect({ code: failed?.error?.['code'], sqlstate: failed?.error?.['sqlstate'] }).to.deep.equal(error);
    });
  }
});
