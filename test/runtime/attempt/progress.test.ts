import { expect } from 'chai';
import { Progress, type Totals } from '../../../src/runtime/attempt/progress.js';

describe('the progress of a task', () => {
  it('is reported at most ten times a second, as a sum, and once more at the end', () => {
    const reports: Totals[] = [];
    let now = 0;
    const progress = new Progress(
      (totals) => reports.push(totals),
      () => now,
    );
    for (; now < 1000; now++) progress.addMovement({ bytes: 10, rows: 1 });
    progress.finish();
    expect(reports).to.have.lengthOf(11);
    expect(reports[1]).to.deep.equal({ bytes: 1010, rows: 101 });
    expect(reports.at(-1)).to.deep.equal({ bytes: 10_000, rows: 1000 });
  });

  it('is not reported if there is no progress, or no new progress', () => {
    const reports: Totals[] = [];
    const progress = new Progress(
      (totals) => reports.push(totals),
      () => 0,
    );
    progress.finish();
    progress.addMovement({ rows: 1 });
    progress.finish();
    expect(reports).to.deep.equal([{ rows: 1, bytes: 0 }]);
  });
});
