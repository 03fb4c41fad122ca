import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/cli.js';

describe('the bundle of the program', () => {
  // bin/run.js reads the file as one byte a character. A character of several bytes would change what a regular
  // expression matches, such as the quotes around a value in a message of a server.
  it('has only ASCII characters', () => {
    const code = readFileSync(join(ROOT, 'dist/etl.cjs'), 'latin1');
    expect(/.{0,40}[^\0-\x7f].{0,40}/.exec(code)?.[0]).to.equal(undefined);
  });
});
