import { expect } from 'chai';
import { untilAborted, within } from '../../src/runtime/waiting.js';

const forever = new Promise<never>(() => undefined);

describe('within', () => {
  it('returns true if the work succeeds or fails in time', async () => {
    expect(await within(Promise.resolve('done'), 60_000)).to.equal(true);
    expect(await within(Promise.reject(new Error('failed')), 60_000)).to.equal(true);
  });

  it('returns false if the work does not end in time', async () => {
    expect(await within(forever, 1)).to.equal(false);
  });
});

describe('untilAborted', () => {
  const reason = new Error('the run was stopped');

  it('returns the result of work that ends before an abort', async () => {
    expect(await untilAborted(Promise.resolve('done'), new AbortController().signal)).to.equal('done');
  });

  it('throws the reason of a signal that aborts before the work ends, or has aborted already', async () => {
    const stop = new AbortController();
    const waiting = untilAborted(forever, stop.signal).catch((error: unknown) => error);
    stop.abort(reason);
    expect(await waiting).to.equal(reason);
    expect(await untilAborted(forever, stop.signal).catch((error: unknown) => error)).to.equal(reason);
  });

  it('passes a result that arrives after the abort to `late`', async () => {
    let end: (result: string) => void = () => undefined;
    const work = new Promise<string>((resolve) => (end = resolve));
    const late = new Promise<string>((resolve) => {
      const waiting = untilAborted(work, AbortSignal.abort(reason), resolve);
      waiting.catch(() => end('connection'));
    });
    expect(await late).to.equal('connection');
  });
});
