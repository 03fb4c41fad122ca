import { expect } from 'chai';
import { runInNewContext } from 'node:vm';
import { EtlError, toError } from '../../../src/errors.js';
import { listCauses } from '../../../src/runtime/report/causes.js';
import { buildErrorFields, formatErrorLines } from '../../../src/runtime/report/words.js';

const same = (text: string): string => text;
const PAINT = { good: same, bad: same, faint: same, strong: same };

function wrap(cause: unknown): EtlError {
  return new EtlError('ETL-3001', { what: 'the import failed', cause });
}

function show(cause: unknown): string {
  return formatErrorLines(wrap(cause), PAINT).join('\n');
}

describe('the causes of an error', () => {
  it('are the whole chain and each error of an AggregateError, with their codes', () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' });
    const denied = Object.assign(new TypeError('not allowed'), { code: 'EPERM' });
    const both = new AggregateError([refused, denied], '');
    expect(show(new TypeError('fetch failed', { cause: new Error('attempt 3', { cause: both }) }))).to.equal(
      [
        'ETL-3001 the import failed',
        '  cause TypeError: fetch failed',
        '          Error: attempt 3',
        '            AggregateError',
        '              Error: connect ECONNREFUSED 127.0.0.1:1',
        '              TypeError: not allowed (EPERM)',
      ].join('\n'),
    );
    expect(listCauses(wrap(new Error('a', { cause: 'b' })))).to.deep.equal([
      { name: 'Error', message: 'a', causes: [{ message: 'b' }] },
    ]);
  });

  it('do not repeat a message that is shown already', () => {
    expect(listCauses(wrap(new Error('the import failed', { cause: new Error('no disk') })))).to.deep.equal([
      { name: 'Error', message: 'no disk' },
    ]);
    expect(buildErrorFields(wrap(new Error('import failed')))).to.not.have.property('causes');
  });

  it('are bounded, and end at a circle', () => {
    const circle = new Error('one');
    circle.cause = new Error('two', { cause: circle });
    expect(show(circle)).to.match(/one\n +Error: two$/);
    let deep: unknown = 'the end';
    for (let i = 0; i < 10_000; i++) deep = new Error(`level ${i}`, { cause: deep });
    const many = new AggregateError(
      Array.from({ length: 10_000 }, (_, i) => new Error(`${i} ${'x'.repeat(5000)}`)),
      'many',
    );
    for (const cause of [deep, many]) {
      expect(JSON.stringify(buildErrorFields(wrap(cause))).length).to.be.lessThan(30_000);
      expect(show(cause)).to.include('more causes');
    }
  });

  it('can be anything that code throws', () => {
    const hostile = {
      get message(): string {
        throw new Error('getter');
      },
      get cause(): unknown {
        throw new Error('getter');
      },
    };
    const proxy = new Proxy(
      {},
      {
        get: () => {
          throw new Error('trap');
        },
        ownKeys: () => {
          throw new Error('trap');
        },
      },
    );
    class Locked extends Error {
      override get message(): string {
        throw new Error('getter');
      }
    }
    for (const thrown of [
      new Locked(),
      null,
      undefined,
      'text',
      7,
      7n,
      true,
      Symbol('s'),
      () => 1,
      {},
      [],
      hostile,
      proxy,
      Object.create(null),
    ]) {
      expect(() => show(thrown)).to.not.throw();
      expect(() => formatErrorLines(wrap(toError(thrown)), PAINT, true)).to.not.throw();
      const { message } = toError(thrown);
      expect(message).to.match(/^the task threw .+ instead of an Error/);
      if (typeof thrown === 'string' || typeof thrown === 'number')
        expect(message).to.include(String(thrown));
    }
  });

  it('show the fields of a thrown object only where row data is allowed', () => {
    const error = toError({ id: 900, email: 'ann@example.com' }) as EtlError;
    expect(formatErrorLines(error, PAINT, false).join('\n'))
      .to.include('{ id, email }')
      .and.not.include('ann@');
    expect(formatErrorLines(error, PAINT, true).join('\n')).to.include("email: 'ann@example.com'");
    expect((toError({ message: 'said so', code: 7 }) as EtlError).message).to.include('said so');
  });

  it('are the errors of another realm too', () => {
    const foreign: unknown = runInNewContext('new RangeError("elsewhere", { cause: new Error("deep") })');
    expect(toError(foreign)).to.equal(foreign);
    expect(show(foreign)).to.match(/RangeError: elsewhere\n +Error: deep$/);
  });
});
