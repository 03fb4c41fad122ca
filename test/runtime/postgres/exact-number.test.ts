import { expect } from 'chai';
import * as fc from 'fast-check';
import { ExactNumber, buildJson } from '../../../src/runtime/postgres/exact-number.js';
import { encodeResult, MAX_DEPTH } from '../../../src/runtime/json.js';

describe('buildJson', () => {
  const exact = new ExactNumber('0.1234567890123456789');
  const written: readonly [title: string, value: unknown, text: string][] = [
    ['keeps the digits of a bigint', { n: 2n ** 64n }, '{"n":18446744073709551616}'],
    ['keeps the digits of an exact number', [exact, 1], '[0.1234567890123456789,1]'],
    ['writes a Date beside a bigint as toJSON does', [1n, new Date(0)], '[1,"1970-01-01T00:00:00.000Z"]'],
    [
      'leaves out undefined beside a bigint, as JSON.stringify does',
      { a: undefined, b: [1n, undefined] },
      '{"b":[1,null]}',
    ],
    ['keeps the sign of zero', { a: [-0, 0] }, '{"a":[-0,0]}'],
    ['writes a property named toJSON', { toJSON: 1 }, '{"toJSON":1}'],
    ['unwraps an object around a string beside a bigint', [new String('a'), 1n], '["a",1]'],
  ];
  for (const [title, value, text] of written) it(title, () => expect(buildJson(value)).to.equal(text));

  const cycle: unknown[] = [];
  cycle.push(cycle);
  const refused: readonly [title: string, value: unknown, message: RegExp][] = [
    ['a Map', { m: new Map() }, /a Map is not JSON/],
    ['a Set', [new Set()], /a Set is not JSON/],
    ['a function', { f: () => 1 }, /a function is not JSON/],
    ['a symbol', [Symbol('s')], /a symbol is not JSON/],
    ['a value that contains itself', cycle, /contains itself/],
    ['undefined', undefined, /undefined is not JSON/],
    ['NaN', [Number.NaN, 1n], /NaN is not JSON/],
    ['an infinite number', { a: -Infinity }, /-Infinity is not JSON/],
    ['bytes', { a: Buffer.from('a') }, /bytes \(Buffer\) are not JSON/],
    ['a promise', [Promise.resolve()], /Promise has no properties/],
    ['a regular expression', /a/, /RegExp has no properties/],
  ];
  for (const [title, value, message] of refused)
    it(`refuses ${title}`, () => expect(() => buildJson(value)).to.throw(TypeError, message));

  it('writes the same text as encodeResult for values that a task result may contain', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'grapheme' }), (sample) => {
        // A result has no -0, because jsonb has none.
        const value: unknown = JSON.parse(JSON.stringify(sample));
        const text = buildJson(value);
        if (!text.includes('\\u0000')) expect(text).to.equal(encodeResult(value));
      }),
    );
  });

  it('accepts the same nesting as encodeResult', () => {
    const nest = (depth: number): unknown => {
      let value: unknown = 1n;
      for (let i = 0; i < depth; i++) value = [value];
      return value;
    };
    expect(buildJson(nest(MAX_DEPTH))).to.have.length(2 * MAX_DEPTH + 1);
    expect(() => buildJson(nest(MAX_DEPTH + 2))).to.throw(TypeError, /more than 1000 levels deep/);
  });
});
