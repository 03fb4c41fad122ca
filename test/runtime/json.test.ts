import { expect } from 'chai';
import * as fc from 'fast-check';
import { EtlError } from '../../src/errors.js';
import { encodeResult, type JsonResult } from '../../src/runtime/json.js';

interface Context {
  readonly rows: number;
}

interface Row {
  readonly id: number;
  readonly name?: string;
  readonly note: string | undefined;
  readonly tags: readonly string[];
}

interface Tree {
  readonly children: readonly Tree[];
}

class Order {
  readonly id = 1;
}

function task<R>(fn: (context: Context) => Promise<R> & JsonResult<R>): Promise<R> {
  return fn({ rows: 1 });
}

function errorOf(act: () => unknown): EtlError {
  try {
    act();
  } catch (error) {
    if (error instanceof EtlError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the type JsonResult', () => {
  it('accepts JSON, interfaces, recursive types and void, and preserves the type of the result', async () => {
    const row: Row = { id: 1, note: undefined, tags: ['a'] };
    const tree: Tree = { children: [{ children: [] }] };
    const result: { rows: number; first: Row } = await task(async ({ rows }) => ({ rows, first: row }));
    expect(result).to.deep.equal({ rows: 1, first: row });
    expect(await task(async () => tree)).to.equal(tree);
    expect(await task(async () => {})).to.equal(undefined);
    expect(await task(async () => [1, 'a', null, [true]] as const)).to.have.length(4);
  });

  it('refuses functions, Maps, Dates, bigints, symbols, unknown, and undefined in an array', () => {
    const unknown: unknown = 1;
    // @ts-expect-error a function
    void task(async () => ({ f: () => 1 }));
    // @ts-expect-error a Map
    void task(async () => new Map<string, number>());
    // @ts-expect-error a Date, inside rows
    void task(async ({ rows }) => ({ rows: [{ rows, at: new Date() }] }));
    // @ts-expect-error a bigint
    void task(async () => ({ n: 1n }));
    // @ts-expect-error undefined in an array
    void task(async () => [1, undefined]);
    // @ts-expect-error a symbol
    void task(async () => Symbol.iterator);
    // @ts-expect-error a symbol as a name
    void task(async () => ({ [Symbol.iterator]: 1 }));
    // @ts-expect-error unknown may be anything
    void task(async () => unknown);
  });

  it('has the paths of the parts that are not JSON', () => {
    type Message = JsonResult<{ rows: { at: Date; id: number }[]; n: bigint }>;
    const paths: Message['A task result must be JSON'][] = ['result.rows[].at', 'result.n'];
    // @ts-expect-error `id` is JSON
    paths.push('result.rows[].id');
    expect(paths).to.have.length(3);
  });
});

describe('encodeResult', () => {
  it('writes what JSON.stringify writes for every JSON value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'grapheme' }), (value) => {
        const text = JSON.stringify(value);
        if (!text.includes('\\u0000')) expect(encodeResult(value)).to.equal(text);
      }),
    );
  });

  const written: readonly [string, unknown, string][] = [
    ['undefined as null', undefined, 'null'],
    ['a bigint as decimal text', { n: 2n ** 64n }, '{"n":"18446744073709551616"}'],
    ['no property that is undefined', { a: undefined, b: 1, c: undefined }, '{"b":1}'],
    ['an object without a prototype', Object.assign(Object.create(null), { a: {} }), '{"a":{}}'],
    ['an object that occurs twice without a cycle', [{ a: 1 }].flatMap((o) => [o, o]), '[{"a":1},{"a":1}]'],
    ['the property name __proto__', JSON.parse('{"__proto__":[]}'), '{"__proto__":[]}'],
    ['a whole surrogate pair', '😀', '"😀"'],
  ];
  for (const [title, value, text] of written) {
    it(`writes ${title}`, () => expect(encodeResult(value)).to.equal(text));
  }

  const cycle: Record<string, unknown> = { rows: [] };
  cycle['self'] = [cycle];
  const refused: readonly [string, unknown, RegExp][] = [
    ['a Date', { rows: [0, 1, 2, { at: new Date(0) }] }, /`result\.rows\[3\]\.at` is a Date/],
    ['an invalid Date', new Date(NaN), /`result` is a Date/],
    ['a cycle', cycle, /`result\.self\[0\]` contains itself/],
    ['a function', { f: () => 1 }, /`result\.f` is a function/],
    ['a symbol', [Symbol('x')], /`result\[0\]` is a symbol/],
    ['a symbol as a property name', { [Symbol('x')]: 1 }, /`result` has a symbol/],
    ['a Map', { 'a b': new Map() }, /`result\["a b"\]` is a Map/],
    ['a Set', new Set(), /`result` is a Set/],
    ['a class instance', { e: new Order() }, /`result\.e` is an Order/],
    ['a String object', Object('x'), /`result` is a String/],
    ['undefined in an array', [1, undefined], /`result\[1\]` is undefined/],
    ['a hole in an array', Array(1e9), /`result\[0\]` is undefined/],
    ['NaN', { a: NaN }, /`result\.a` is NaN/],
    ['Infinity', [-Infinity], /`result\[0\]` is -Infinity/],
    ['NUL in a string', { a: 'x\0' }, /`result\.a` holds a NUL.*22P05/],
    ['NUL in a property name', { 'x\0': 1 }, /holds a NUL/],
    ['a lone surrogate', ['ok \ud83d'], /`result\[0\]` holds half of a surrogate pair at index 3/],
    ['a lone surrogate in a property name', { '\udc00': 1 }, /surrogate/],
  ];
  for (const [title, value, message] of refused) {
    it(`refuses ${title}`, () => {
      const error = errorOf(() => encodeResult(value));
      expect(error.code).to.equal('ETL-3401');
      expect(error.message).to.match(message);
    });
  }

  it('says in the fix how to record a Date', () => {
    expect(errorOf(() => encodeResult(new Date())).fix).to.equal('use toISOString()');
  });

  it('accepts 1000 levels and refuses more without overflowing the stack', () => {
    expect(encodeResult(nested(1000))).to.have.length(1 + 500 * 2 + 500 * 6);
    expect(errorOf(() => encodeResult(nested(1001))).message).to.match(/more than 1000 levels/);
    expect(errorOf(() => encodeResult(nested(1_000_000))).message).to.have.length.below(400);
  });

  const sizes: readonly [string, () => unknown, number, RegExp | undefined][] = [
    ['a text of exactly the limit', () => 'a'.repeat(98), 100, undefined],
    [
      'a text of one byte more than the limit, and names both sizes',
      () => 'a'.repeat(99),
      100,
      /at most 100 bytes of JSON, got 101 bytes/,
    ],
    ['a text by its bytes, not by its characters', () => 'é'.repeat(50), 100, /got 102 bytes/],
    [
      'a text of more than eight times the limit without measuring the rest',
      () => Array.from({ length: 10_000 }, () => 'a'),
      100,
      /got more than 800 bytes/,
    ],
    [
      'a shared value that would be written 2 ** 60 times',
      () => doubled(60),
      1024 * 1024,
      /at most 1 MiB of JSON, got more than/,
    ],
  ];
  for (const [title, make, limitBytes, message] of sizes) {
    it(`${message ? 'refuses' : 'accepts'} ${title}`, () => {
      if (message) expect(errorOf(() => encodeResult(make(), { limitBytes })).message).to.match(message);
      else expect(encodeResult(make(), { limitBytes })).to.have.length(limitBytes);
    });
  }

  it('limits a result to 1 MiB by default, and says that rows belong in a table', () => {
    const error = errorOf(() => encodeResult('a'.repeat(1024 * 1024)));
    expect(error.message).to.match(/at most 1 MiB/);
    expect(error.fix).to.match(/write rows to a table/);
  });
});

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

/** Returns a value that contains the same text 2 ** levels times. It needs little memory. */
function doubled(levels: number): unknown {
  let value: unknown = 'a';
  for (let i = 0; i < levels; i++) value = [value, value];
  return value;
}
