import { expect } from 'chai';
import * as fc from 'fast-check';
import { EtlError } from '../../src/errors.js';
import { formatDuration, parseDuration } from '../../src/runtime/duration.js';

describe('parseDuration', () => {
  const accepted: readonly [string | number, number][] = [
    ['500ms', 500],
    ['5s', 5000],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['1h30m', 5_400_000],
    ['1d2h3m4s5ms', 93_784_005],
    ['30d', 2_592_000_000],
    [250, 250],
    [0.5, 0.5],
  ];
  for (const [text, ms] of accepted) {
    it(`reads ${JSON.stringify(text)} as ${ms} ms`, () =>
      expect(parseDuration(text, 'timeout')).to.equal(ms));
  }

  const refused: readonly [unknown, string][] = [
    ['ten', 'expected `timeout` to be a duration such as "10m", got "ten" (string)'],
    ['', 'expected `timeout` to be a duration such as "10m", got "" (string)'],
    ['10', 'expected `timeout` to be a duration such as "10m", got "10" (string)'],
    ['30m1h', 'expected `timeout` to be a duration such as "10m", got "30m1h" (string)'],
    ['1.5h', 'expected `timeout` to be a duration such as "10m", got "1.5h" (string)'],
    ['10 m', 'expected `timeout` to be a duration such as "10m", got "10 m" (string)'],
    ['10M', 'expected `timeout` to be a duration such as "10m", got "10M" (string)'],
    ['5s\n', 'expected `timeout` to be a duration such as "10m", got "5s\\n" (string)'],
    [NaN, 'expected `timeout` to be a duration such as "10m", got NaN (number)'],
    [Infinity, 'expected `timeout` to be a duration such as "10m", got Infinity (number)'],
    [null, 'expected `timeout` to be a duration such as "10m", got null'],
    [{}, 'expected `timeout` to be a duration such as "10m", got an Object'],
    [['5s'], 'expected `timeout` to be a duration such as "10m", got an Array'],
    ['0s', 'expected `timeout` to be a duration of more than 0, got "0s" (string)'],
    [-1, 'expected `timeout` to be a duration of more than 0, got -1 (number)'],
    ['31d', 'expected `timeout` to be at most 30 days, got "31d" (string)'],
    ['30d1ms', 'expected `timeout` to be at most 30 days, got "30d1ms" (string)'],
    [1e300, 'expected `timeout` to be at most 30 days, got 1e+300 (number)'],
    [
      `${'9'.repeat(400)}d`,
      `expected \`timeout\` to be a duration such as "10m", got "${'9'.repeat(60)}"… (string)`,
    ],
  ];
  for (const [value, message] of refused) {
    it(`refuses ${JSON.stringify(value)?.slice(0, 20)}`, () => {
      expect(() => parseDuration(value as string, 'timeout'))
        .to.throw(EtlError, message)
        .with.property('code', 'ETL-2303');
    });
  }

  it('reads any combination of units as their sum', () => {
    const count = fc.nat({ max: 20 });
    fc.assert(
      fc.property(count, count, count, count, (h, m, s, ms) => {
        fc.pre(h + m + s + ms > 0);
        const text = `${h}h${m}m${s}s${ms}ms`;
        expect(parseDuration(text, 'timeout')).to.equal(((h * 60 + m) * 60 + s) * 1000 + ms);
      }),
    );
  });
});

describe('formatDuration', () => {
  const rows: readonly [number, string][] = [
    [0, '0.00s'],
    [40, '0.04s'],
    [94, '0.09s'],
    [99.9, '0.1s'],
    [300, '0.3s'],
    [12_345, '12.3s'],
    [59_949, '59.9s'],
    [59_950, '1m 00s'],
    [185_000, '3m 05s'],
    [3_599_499, '59m 59s'],
    [3_599_500, '1h 00m'],
    [3_720_000, '1h 02m'],
    [90_000_000, '25h 00m'],
  ];
  for (const [ms, text] of rows) {
    it(`shows ${ms} ms as ${text}`, () => expect(formatDuration(ms)).to.equal(text));
  }
});
