import { expect } from 'chai';
import * as fc from 'fast-check';
import { z } from 'zod';
import { EtlError } from '../../../src/errors.js';
import { parseParamFlag, resolveParams } from '../../../src/runtime/dag/params.js';
import type { InferInput, InferOutput, StandardSchema } from '../../../src/runtime/dag/standard-schema.js';

const schema = z.object({
  region: z.enum(['eu', 'us']).default('eu'),
  minTotal: z.coerce.number().default(0),
});

async function catchError(promise: Promise<unknown>): Promise<EtlError> {
  const error: unknown = await promise.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (error instanceof EtlError) return error;
  throw error instanceof Error ? error : new Error(String(error));
}

describe('resolveParams', () => {
  it('fills in defaults and converts texts, with the types of the schema', async () => {
    const params: { readonly region: 'eu' | 'us'; readonly minTotal: number } = await resolveParams(schema, {
      minTotal: '12.5',
    });
    expect({ ...params }).to.deep.equal({ region: 'eu', minTotal: 12.5 });
  });

  it('has the types that the library of the schema infers', () => {
    const output: InferOutput<typeof schema> = { region: 'us', minTotal: 1 };
    const input: InferInput<typeof schema> = {};
    // @ts-expect-error minTotal is a number after validation
    output.minTotal = '1';
    expect([output, input]).to.have.length(2);
  });

  it('returns frozen params without a prototype, and no params without a schema', async () => {
    for (const params of [await resolveParams(schema, {}), await resolveParams(undefined, {})]) {
      expect(params).to.be.an('object').that.satisfies(Object.isFrozen);
      expect(Object.getPrototypeOf(params)).to.equal(null);
    }
  });

  it('waits for an asynchronous refinement', async () => {
    const taken = z.object({
      name: z.string().refine(async (name) => Promise.resolve(name !== 'taken'), 'is taken'),
    });
    expect(await resolveParams(taken, { name: 'free' })).to.include({ name: 'free' });
    expect((await catchError(resolveParams(taken, { name: 'taken' }))).message).to.contain('name: is taken');
  });

  it('counts a param that is undefined as not given', async () => {
    expect(await resolveParams(schema, { region: undefined, regoin: undefined })).to.include({
      region: 'eu',
    });
  });

  it('lists each problem on its own line, and the given params', async () => {
    const strict = z.object({ region: z.enum(['eu', 'us']), deep: z.object({ n: z.number() }).optional() });
    const error = await catchError(resolveParams(strict, { regoin: 'eu', deep: { n: 'x' } }));
    expect(error.code).to.equal('ETL-2402');
    expect(error.message.split('\n')).to.have.length(3);
    expect(error.message).to.match(/\n {2}region: .+\n {2}deep\.n: .+$/);
    expect(error.why).to.equal('the given params are regoin, deep');
  });

  const unknown: readonly [string, StandardSchema | undefined, Record<string, unknown>, RegExp][] = [
    ['without a schema', undefined, { region: 'eu' }, /^unknown param "region"$/],
    ['that is misspelt', schema, { regoin: 'eu' }, /^unknown param "regoin"; did you mean "region"\?$/],
    ['beside known params', schema, { region: 'us', x: 1 }, /^unknown param "x"$/],
    [
      'named __proto__',
      z.looseObject({}),
      JSON.parse('{"__proto__":{"a":1}}'),
      /^unknown param "__proto__"$/,
    ],
    ['with control characters', schema, { '\u001b[31m': 1 }, /^unknown param "\\u001b\[31m"$/],
    ['with a very long name', schema, { ['x'.repeat(1e6)]: 1 }, /^unknown param "x{60}"$/],
  ];
  for (const [title, ofDag, given, message] of unknown) {
    it(`refuses a param ${title}`, async () => {
      const error = await catchError(resolveParams(ofDag, given));
      expect([error.code, error.exitCode]).to.deep.equal(['ETL-2401', 2]);
      expect(error.message).to.match(message);
    });
  }

  it('accepts a param that the schema only uses to compute another one', async () => {
    const renamed = z
      .object({ from: z.string().optional() })
      .transform(({ from = 'a' }) => ({ source: from }));
    expect(await resolveParams(renamed, { from: 'b' })).to.include({ source: 'b' });
  });

  it('accepts every param if the schema keeps unknown params', async () => {
    expect(await resolveParams(z.looseObject({}), { toString: 'x', constructor: 'y' })).to.include({
      toString: 'x',
    });
  });

  const refused: readonly [string, StandardSchema, Record<string, unknown>, RegExp][] = [
    ['NUL in a value', schema, { region: 'e\0u' }, /region: holds a NUL/],
    ['NUL in a name', schema, { 'a\0': 1 }, /a\\u0000: holds a NUL/],
    ['NUL inside an object', z.looseObject({}), { a: { b: '\0' } }, /`params\.a\.b` holds a NUL/],
    [
      'a Date in the output',
      z.object({ day: z.coerce.date() }),
      { day: '2026-03-05' },
      /`params\.day` is a Date/,
    ],
    ['a bigint in the output', z.object({ n: z.coerce.bigint() }), { n: '1' }, /`params\.n` is a bigint/],
    ['more than 1 MiB', z.object({ a: z.string() }), { a: 'x'.repeat(2 ** 20) }, /at most 1 MiB/],
    [
      'a schema that does not return an object',
      z.array(z.string()).catch([]),
      {},
      /the schema returns an Array/,
    ],
    ['an unknown param of a strict schema', z.strictObject({}), { a: 1 }, /Unrecognized key/],
  ];
  for (const [title, ofDag, given, message] of refused) {
    it(`refuses ${title}`, async () => {
      const error = await catchError(resolveParams(ofDag, given));
      expect([error.code, error.exitCode]).to.deep.equal(['ETL-2402', 2]);
      expect(error.message).to.match(message);
    });
  }

  it('throws an error of the schema unchanged', async () => {
    const broken = z.object({}).transform(() => {
      throw new TypeError('bug in the schema');
    });
    await resolveParams(broken, {}).then(
      () => expect.fail('it was accepted'),
      (error: unknown) => expect(error).to.be.instanceOf(TypeError),
    );
  });

  it('never changes a prototype', async () => {
    const names = fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', 'a');
    await fc.assert(
      fc.asyncProperty(fc.dictionary(names, fc.object({ key: names, maxDepth: 2 })), async (given) => {
        const before = Object.getOwnPropertyNames(Object.prototype).join();
        await resolveParams(z.looseObject({}), given).catch((error: unknown) => {
          expect(error).to.be.instanceOf(EtlError);
        });
        expect(Object.getOwnPropertyNames(Object.prototype).join()).to.equal(before);
        expect(Object.hasOwn({}, 'a')).to.equal(false);
      }),
    );
  });
});

describe('parseParamFlag', () => {
  const rows: readonly [string, readonly [string, string] | undefined][] = [
    ['region=eu', ['region', 'eu']],
    ['where=a=b', ['where', 'a=b']],
    ['region=', ['region', '']],
    ['region= eu ', ['region', ' eu ']],
    ['region', undefined],
    ['=eu', undefined],
    ['', undefined],
  ];
  for (const [flag, expected] of rows) {
    it(`${expected ? 'reads' : 'refuses'} ${JSON.stringify(flag)}`, () => {
      if (expected) expect(parseParamFlag(flag)).to.deep.equal(expected);
      else
        expect(() => parseParamFlag(flag))
          .to.throw(EtlError, JSON.stringify(flag))
          .with.property('code', 'ETL-2401');
    });
  }
});
