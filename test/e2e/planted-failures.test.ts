import { expect } from 'chai';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/cli.js';
import { PLANTS, showPlanted } from './planted-failures.js';

/**
 * The file has what a user sees after each failure, in the order of `PLANTS`, and no title of a failure: a reader who does
 * not know the code can name the cause and the cure by the messages alone. `UPDATE_ERRORS=1` writes the file.
 */
const FILE = join(ROOT, 'test/fixtures/planted-failures.txt');

describe('a user who sees a failure', () => {
  const shown: string[] = [];
  let number = 0;
  for (const [title, plant] of PLANTS) {
    number++;
    const heading = `=== ${number} ===`;
    it(`reads what failed, where and why, and what to do: ${title}`, async () => {
      const text = `${heading}\n${await showPlanted(plant)}\n`;
      shown.push(text);
      if (process.env['UPDATE_ERRORS'] === '1') return;
      const kept = readFileSync(FILE, 'utf8').split(/^(?==== \d+ ===)/m);
      expect(text.trimEnd()).to.equal(kept.find((each) => each.startsWith(`${heading}\n`))?.trimEnd());
    });
  }

  after(() => {
    if (process.env['UPDATE_ERRORS'] === '1') writeFileSync(FILE, shown.join('\n'));
  });
});
