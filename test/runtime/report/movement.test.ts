import { expect } from 'chai';
import type { EventBody, Reporter } from '../../../src/runtime/report/event.js';
import { createPlainReporter } from '../../../src/runtime/report/plain-reporter.js';
import { createStatusReporter } from '../../../src/runtime/report/status.js';

const asIs = (text: string): string => text;
const PAINT = { good: asIs, bad: asIs, faint: asIs, strong: asIs };

/** Reports an event that happened `seconds` after the begin of the run. */
function report(reporter: Reporter, seconds: number, body: EventBody): void {
  reporter.report({ ...body, at: new Date(seconds * 1000), runId: 'r', dagId: 'd' });
}
const start = (taskId: string): EventBody => ({ type: 'task_started', taskId, attempt: 1 });
const moved = (taskId: string, rows: number, bytes: number): EventBody => ({
  type: 'task_progress',
  taskId,
  rows,
  bytes,
});
const notice: EventBody = { type: 'notice', text: 'said' };

describe('the report of progress', () => {
  let written: string[];
  let plain: Reporter;
  beforeEach(() => {
    written = [];
    plain = createPlainReporter({
      write: (text) => written.push(text),
      paint: PAINT,
      quiet: false,
      showsRowData: false,
    });
  });

  it('is a line every ten seconds for each task in a log, and no line for a short task', () => {
    report(plain, 0, start('a'));
    report(plain, 5, start('b'));
    for (let second = 1; second < 30; second++) {
      report(plain, second, moved('a', 0, second * 12_300_000));
      report(plain, second, moved('b', second * 1000, 0));
    }
    expect(written.join('').trim().split('\n')).to.deep.equal(
      [
        '· a  123.0 MB  12.3 MB/s',
        '· b  15,000 rows  1,500 rows/s',
        '· a  246.0 MB  12.3 MB/s',
        '· b  25,000 rows  1,250 rows/s',
      ].map((line, i) => (i === 0 ? line : ` ${line}`)),
    );
  });

  it('is one line in a terminal, not wider than the terminal, that disappears before other lines', () => {
    const write = (text: string): void => void written.push(text);
    const reporter = createStatusReporter(plain, { write, control: write, columns: () => 40 });
    report(reporter, 0, start('a'));
    report(reporter, 2, moved('a', 4, 1_000_000));
    report(reporter, 3, start('b'));
    report(reporter, 4, moved('b', 0, 99_000_000));
    report(reporter, 4, notice);
    report(reporter, 5, notice);
    const texts = written.filter((text) => text !== '');
    expect(texts).to.deep.equal([
      '\r\u001b[2K',
      ' a  4 rows  1.0 MB  0.5 MB/s',
      '\r\u001b[2K',
      '\r\u001b[2K',
      ' a  4 rows  1.0 MB  0.5 MB/s   b  99.0 ',
      '\r\u001b[2K',
      ' note: said\n',
      ' note: said\n',
    ]);
  });
});
