import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../support/cli.js';

const run = promisify(execFile);
const FOLDER = 'examples/testing';

/** The test runners with the arguments of Node that run their example, and what they print about it. */
const RUNNERS: readonly [name: string, args: readonly string[], output: RegExp][] = [
  [
    'mocha',
    ['node_modules/mocha/bin/mocha.js', '--no-package', '--import=tsx', '--timeout=60000'],
    /2 passing/,
  ],
  [
    'vitest',
    ['node_modules/vitest/vitest.mjs', 'run', '--dir', FOLDER, '--testTimeout=60000'],
    /Tests .*1 passed/,
  ],
  ['node', ['--import', 'tsx', '--test'], /^# pass 1$/m],
];

describe('the examples of tests', () => {
  for (const [name, args, output] of RUNNERS) {
    it(`pass in the test runner ${name}`, async () => {
      const file = name === 'vitest' ? `${name}.test.ts` : `${FOLDER}/${name}.test.ts`;
      const env = { PATH: process.env['PATH'], HOME: join(ROOT, '.etl'), NO_COLOR: '1' };
      const { stdout } = await run(process.execPath, [...args, file], { cwd: ROOT, env, timeout: 100_000 });
      expect(stdout).to.match(output);
    });
  }
});
