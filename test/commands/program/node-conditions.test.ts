import { expect } from 'chai';
import { listNodeConditions } from '../../../src/commands/program/node-conditions.js';

const ROWS: readonly (readonly [readonly string[], string | undefined, readonly string[]])[] = [
  [[], undefined, []],
  [['--conditions=development'], undefined, ['development']],
  [['-C', 'development', '--no-warnings'], undefined, ['development']],
  [['-C=a'], '--conditions b --max-old-space-size=100', ['a', 'b']],
];

describe('the conditions of exports that the user has given to Node.js', () => {
  for (const [args, nodeOptions, conditions] of ROWS) {
    it(`are ${conditions.join(' and ') || 'none'} for ${[...args, nodeOptions ?? ''].join(' ') || 'no options'}`, () => {
      expect(listNodeConditions(args, nodeOptions)).to.deep.equal(conditions);
    });
  }
});
