import { expect } from 'chai';
import { EtlError } from '../../../src/errors.js';
import { buildErrorFields, formatErrorLines } from '../../../src/runtime/report/words.js';

const same = (text: string): string => text;
const PAINT = { good: same, bad: same, faint: same, strong: same };

describe('the words of an error', () => {
  const error = new EtlError('ETL-3001', {
    what: 'the key exists',
    why: 'SQLSTATE 23505',
    rowData: 'id=900\nid=901',
  });

  it('show values of rows only where row data is allowed', () => {
    expect(formatErrorLines(error, PAINT, true).slice(2)).to.deep.equal(['  rows  id=900', '        id=901']);
    expect(buildErrorFields(error, true)).to.include({ row_data: 'id=900\nid=901' });
    const hidden = formatErrorLines(error, PAINT, false);
    expect(hidden[2]).to.equal('  rows  values are hidden; run with --show-data to see them');
    expect(JSON.stringify([hidden, buildErrorFields(error, false)])).to.not.include('900');
  });
});
