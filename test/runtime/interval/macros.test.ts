import { expect } from 'chai';
import { createMacros } from '../../../src/runtime/interval/macros.js';

const names = { id: 'r1', dagId: 'monthly-report', taskId: 'stats', attempt: 2 };

function intervalFrom(start: string, end: string): { start: Date; end: Date; logicalDate: Date } {
  return { start: new Date(start), end: new Date(end), logicalDate: new Date(start) };
}

describe('createMacros', () => {
  it('returns the names and formats of Airflow, in UTC', () => {
    const interval = intervalFrom('2020-08-01T04:00:00+02:00', '2020-09-01T02:00:00Z');
    expect(createMacros(interval, names)).to.deep.equal({
      run_id: 'r1',
      dag_id: 'monthly-report',
      task_id: 'stats',
      try_number: 2,
      ds: '2020-08-01',
      ds_nodash: '20200801',
      ts: '2020-08-01T02:00:00+00:00',
      ts_nodash: '20200801T020000',
      ts_nodash_with_tz: '20200801T020000+0000',
      logical_date: '2020-08-01T02:00:00+00:00',
      data_interval_start: '2020-08-01T02:00:00+00:00',
      data_interval_end: '2020-09-01T02:00:00+00:00',
      task_instance_key_str: 'monthly-report__stats__20200801',
    });
  });

  it('writes a fraction of a second with six digits', () => {
    const interval = intervalFrom('2026-03-05T00:00:00.120Z', '2026-03-06T00:00:00Z');
    expect(createMacros(interval, names)).to.include({
      ts: '2026-03-05T00:00:00.120000+00:00',
      ts_nodash: '20260305T000000',
    });
  });

  it('returns no macros of an interval without a data interval', () => {
    expect(createMacros(undefined, names)).to.have.all.keys('run_id', 'dag_id', 'task_id', 'try_number');
  });
});
