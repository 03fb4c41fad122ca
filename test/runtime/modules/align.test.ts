import { expect } from 'chai';
import fc from 'fast-check';
import { alignedColumn } from '../../../src/runtime/modules/align.js';

describe('the column of what a line was made of', () => {
  const rows: { title: string; line: string; from: string; at: string; leadsTo: string }[] = [
    {
      title: 'after a type',
      from: 'const a: Text = b; call(a);',
      line: 'const a = b; call(a);',
      at: 'call(',
      leadsTo: 'call(',
    },
    {
      title: 'after a template that begins with an expression',
      from: 'd.task(`${a}${b}`, c as D); e.task(f);',
      line: 'd.task(`${a}${b}`, c ); e.task(f);',
      at: 'task(f',
      leadsTo: 'task(f',
    },
    {
      title: 'in the call of an imported function',
      from: 'x = [dag("a"), dag("b")];',
      line: 'x = [_etl.dag.call(void 0, "a"), _etl.dag.call(void 0, "b")];',
      at: 'call(void 0, "b"',
      leadsTo: 'dag("b"',
    },
    {
      title: 'behind what was put before the line',
      from: 'throw new Error(1);',
      line: '"use strict"; function x(obj) { return obj; } throw new Error(1);',
      at: 'new Error',
      leadsTo: 'new Error',
    },
  ];
  for (const { title, line, from, at, leadsTo } of rows) {
    it(`is found ${title}`, () => {
      expect(from.slice(alignedColumn(line, from, line.indexOf(at)))).to.match(
        new RegExp(`^${literal(leadsTo)}`),
      );
    });
  }

  it('leads to the same word when words were only added', () => {
    const word = fc.stringMatching(/^[a-z]{1,3}$/);
    const parts = fc.array(fc.record({ word, added: fc.boolean() }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(parts, (all) => {
        const unique = all.map((part, index) => ({ ...part, word: `${part.word}${index}` }));
        const from = unique.flatMap(({ word: text, added }) => (added ? [] : [text])).join(' ');
        const line = unique.map(({ word: text }) => text).join('  ');
        for (const { word: text, added } of unique) {
          if (!added) expect(alignedColumn(line, from, line.indexOf(text))).to.equal(from.indexOf(text));
        }
      }),
    );
  });
});

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
