import { expect } from 'chai';
import { classifyState, nextDelay } from '../../../src/runtime/attempt/retry.js';
import type { RetryPolicy } from '../../../src/runtime/dag/plan.js';

const policy: RetryPolicy = { retries: 3, initialMs: 100, factor: 2, maxMs: 250, jitter: false };

describe('the retry policy', () => {
  for (const [state, retryOn, kind] of [
    ['40001', [], 'serialization'],
    ['40P01', [], 'serialization'],
    ['55P03', [], 'serialization'],
    ['08006', [], 'transient'],
    ['57P01', [], 'transient'],
    ['53300', [], 'transient'],
    [undefined, [], 'transient'],
    ['23505', [], 'permanent'],
    ['42P01', [], 'permanent'],
    ['22P02', [], 'permanent'],
    ['28P01', [], 'permanent'],
    ['23505', ['23505'], 'transient'],
    ['23503', ['23505'], 'permanent'],
    ['23503', ['23'], 'transient'],
  ] as const) {
    it(`classifies ${state ?? 'an error without a SQLSTATE'} as ${kind}${retryOn.length > 0 ? ` with retryOn ${retryOn[0]}` : ''}`, () => {
      expect(classifyState(state, retryOn)).to.equal(kind);
    });
  }

  it('waits longer each time, up to the limit, and then gives up', () => {
    const delays = [1, 2, 3, 4].map((transient) =>
      nextDelay('transient', { transient, serialization: 0 }, policy, () => 0.5),
    );
    expect(delays).to.deep.equal([100, 200, 250, undefined]);
  });

  it('takes a random part of the wait with jitter', () => {
    expect(
      nextDelay('transient', { transient: 1, serialization: 0 }, { ...policy, jitter: true }, () => 0.25),
    ).to.equal(25);
  });

  it('retries a serialization failure eight times, whatever the option `retries` says', () => {
    const delay = (serialization: number) =>
      nextDelay('serialization', { transient: 0, serialization }, { ...policy, retries: 0 }, () => 0.5);
    expect(delay(8)).to.be.a('number');
    expect(delay(9)).to.equal(undefined);
  });

  it('never retries a permanent failure', () => {
    expect(nextDelay('permanent', { transient: 0, serialization: 0 }, policy, () => 0.5)).to.equal(undefined);
  });
});
