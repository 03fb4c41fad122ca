import { expect } from 'chai';
import { chooseFormat } from '../../../../src/runtime/tasks/transfer/transfer-format.js';

describe('the COPY format of a transfer', () => {
  const pairs: readonly [title: string, type: string, from: number, to: number, format: string][] = [
    ['the same type', 'integer', 23, 23, 'binary'],
    ['the same array', 'integer[]', 1007, 1007, 'binary'],
    ['text types with the same binary format', 'character varying(5)', 1043, 25, 'binary'],
    ['integers of different sizes', 'integer', 23, 20, 'text'],
    ['a type that was created in the database', 'mood', 16_500, 16_500, 'text'],
    ['a type whose OID initdb assigned', 'information_schema.cardinal_number', 13_000, 13_000, 'text'],
    ['an OID of a table', 'regclass', 2205, 2205, 'text'],
    ['an array of OIDs of types', 'regtype[]', 2211, 2211, 'text'],
  ];
  for (const [title, type, from, to, format] of pairs) {
    it(`is ${format} for ${title}`, () => {
      const target = {
        name: 'a',
        type,
        oid: to,
        value: { oid: to, isArray: false, modifier: -1 },
        notNull: false,
        hasDefault: false,
        isGenerated: false,
        isAlwaysIdentity: false,
      };
      expect(
        chooseFormat(
          [{ name: 'a', type, oid: from, value: target.value }],
          [{ ...target, name: 'b', oid: 16_600 }, target],
        ),
      ).to.equal(format);
    });
  }
});
