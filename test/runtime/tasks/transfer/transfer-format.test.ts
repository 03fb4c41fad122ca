import { expect } from 'chai';
import { chooseFormat } from '../../../../src/runtime/tasks/transfer/transfer-format.js';

describe('the format of a transfer', () => {
  const pairs: readonly [title: string, type: string, from: number, to: number, format: string][] = [
    ['the same type', 'integer', 23, 23, 'binary'],
    ['the same array', 'integer[]', 1007, 1007, 'binary'],
    ['texts that are sent alike', 'character varying(5)', 1043, 25, 'binary'],
    ['numbers of another size', 'integer', 23, 20, 'text'],
    ['a type of the database’s own', 'mood', 16_500, 16_500, 'text'],
    ['a type that initdb has numbered', 'information_schema.cardinal_number', 13_000, 13_000, 'text'],
    ['the name of a table', 'regclass', 2205, 2205, 'text'],
    ['names of types', 'regtype[]', 2211, 2211, 'text'],
  ];
  for (const [title, type, from, to, format] of pairs) {
    it(`is ${format} for ${title}`, () => {
      const target = {
        name: 'a',
        type,
        oid: to,
        notNull: false,
        hasDefault: false,
        isGenerated: false,
        isAlwaysIdentity: false,
      };
      expect(
        chooseFormat([{ name: 'a', type, oid: from }], [{ ...target, name: 'b', oid: 16_600 }, target]),
      ).to.equal(format);
    });
  }
});
