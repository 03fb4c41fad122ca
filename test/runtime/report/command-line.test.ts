import { expect } from 'chai';
import * as fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { formatCommand, formatResumeCommand } from '../../../src/runtime/report/command-line.js';

describe('a command line for people to copy', () => {
  const rows: readonly [title: string, line: string, expected: string][] = [
    ['resumes the last run of a Dag', formatResumeCommand('d'), 'etl run d --resume'],
    [
      'resumes a run by its ID',
      formatResumeCommand('monthly-report', '20261122T020000Z-9f3a6c1e'),
      'etl run monthly-report --resume --run-id 20261122T020000Z-9f3a6c1e',
    ],
    [
      'does not quote words that no shell changes',
      formatResumeCommand('a.b_c', 'x:1+2'),
      'etl run a.b_c --resume --run-id x:1+2',
    ],
    [
      'quotes words that a shell changes',
      formatCommand('ledger', 'migrate', 'my(db)#1'),
      "etl ledger migrate 'my(db)#1'",
    ],
    ['quotes a single quote', formatCommand('run', "o'clock"), String.raw`etl run 'o'\''clock'`],
    ['quotes an empty word', formatCommand('run', ''), "etl run ''"],
  ];
  for (const [title, line, expected] of rows) it(title, () => expect(line).to.equal(expected));

  if (process.platform !== 'win32')
    it('is split by a shell into the original words', () => {
      const words = fc.sample(
        fc.string({ minLength: 1 }).filter((word) => !word.includes('\0')),
        200,
      );
      const script = formatCommand(...words).replace(/^etl/, String.raw`printf '%s\0'`);
      const heard = execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' });
      expect(heard.split('\0').slice(0, -1)).to.deep.equal(words);
    });
});
