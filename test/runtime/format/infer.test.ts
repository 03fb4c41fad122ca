import { expect } from 'chai';
import { inspect } from 'node:util';
import { ExactNumber } from '../../../src/runtime/postgres/exact-number.js';
import { inferColumns } from '../../../src/runtime/format/infer.js';

const inferType = (strings: 'text' | 'value', values: readonly unknown[]) =>
  inferColumns(
    values.map((a) => ({ a })),
    { strings, names: ['a'] },
  )[0]?.type;

describe('inferColumns', () => {
  const texts: readonly [type: string, values: readonly (string | null)[]][] = [
    ['bigint', ['1', '-20', '0', null]],
    ['numeric', ['1', '1.50', '-0.1']],
    ['numeric', ['12345678901234567890']],
    ['numeric', ['1', '2.5e10']],
    ['numeric', ['1e+16', '1e-07']],
    ['text', ['1', '1E5']],
    ['bigint', ['1234567890123456789', '-9223372036854775808']],
    ['numeric', ['9223372036854775808']],
    ['numeric', ['-9223372036854775809']],
    ['json', ['{"a": 1, "a": 2}', '{"a": 1}']],
    ['json', ['[1e9999]']],
    ['text', ['1', '007']],
    ['text', ['01.5']],
    ['text', ['1', 'x']],
    ['text', ['+1']],
    ['text', ['']],
    ['boolean', ['true', 'FALSE']],
    ['text', ['t', 'f']],
    ['date', ['2024-02-29', '1999-12-31']],
    ['text', ['2023-02-29']],
    ['timestamp without time zone', ['2024-02-29', '2024-02-29 12:30']],
    ['timestamp with time zone', ['2024-02-29T12:30:00Z', '2024-02-29 12:30:00.123456+05:30']],
    ['text', ['2024-02-29T12:30:00Z', '2024-02-29 12:30']],
    ['uuid', ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']],
    ['jsonb', ['{"a": 1}', '[1]']],
    ['json', ['{"a": "\\u0000"}']],
    ['text', ['{a}']],
    ['text', [null, null]],
    ['text', []],
  ];
  for (const [type, values] of texts) {
    it(`infers ${type} from the texts ${JSON.stringify(values)}`, () =>
      expect(inferType('text', values)).to.equal(type));
  }

  const others: readonly [type: string, values: readonly unknown[]][] = [
    ['bigint', [1, 2n, null]],
    ['double precision', [1, 1.5]],
    ['numeric', [1, 2n ** 70n]],
    ['numeric', [1.5, new ExactNumber('1.23456789012345678901')]],
    ['boolean', [true]],
    ['text', [true, 1]],
    ['text', ['1', '2']],
    ['timestamp with time zone', ['2024-02-29T12:30:00Z']],
    ['timestamp with time zone', [new Date(0)]],
    ['bytea', [Buffer.from('a')]],
    ['jsonb', [{ a: 1 }, [1]]],
    ['text', [{ a: 1 }, 'a']],
  ];
  for (const [type, values] of others) {
    it(`infers ${type} from the values ${inspect(values, { breakLength: Infinity })}`, () =>
      expect(inferType('value', values)).to.equal(type));
  }

  it('finds every name that a row has', () => {
    const rows = [{ a: 1 }, { b: 'x', a: null }, { ['__proto__']: true }];
    expect(inferColumns(rows, { strings: 'value' })).to.deep.equal([
      { name: 'a', type: 'bigint', narrowest: 'smallint' },
      { name: 'b', type: 'text' },
      { name: '__proto__', type: 'boolean' },
    ]);
  });
});
