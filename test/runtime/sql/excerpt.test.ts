import { expect } from 'chai';
import * as fc from 'fast-check';
import { formatCaretExcerpt } from '../../../src/runtime/sql/excerpt.js';

describe('formatCaretExcerpt', () => {
  const rows: readonly [string, string, number, string][] = [
    ['a caret at the start', 'selec 1', 1, 'selec 1\n^'],
    ['only the line of the position', 'select a,\n  b c d\nfrom t', 13, '  b c d\n  ^'],
    ['a line that ends in CRLF', 'select\r\n  x\r\nfrom t', 11, '  x\n  ^'],
    ['the end of the text', 'select (', 9, 'select (\n        ^'],
    ['the end of a text that ends with empty lines', 'select (\n \n', 12, 'select (\n        ^'],
    ['characters outside the BMP', "select '😀😀', x", 14, "select '😀😀', x\n             ^"],
    ['tabs and escapes as one space', '\tselect \u001b[31m', 9, ' select  [31m\n        ^'],
    ['the end of the text for a position after the end', 'select', 99, 'select\n      ^'],
    ['an empty text', '', 1, '\n^'],
    ['the second line of a text that starts with a line break', '\nselect x', 9, 'select x\n       ^'],
  ];
  for (const [title, sql, position, expected] of rows) {
    it(`shows ${title}`, () => expect(formatCaretExcerpt(sql, position)).to.equal(expected));
  }

  it('cuts a long line to 100 columns around the position', () => {
    const sql = `${'a'.repeat(1000)}X${'b'.repeat(1000)}`;
    expect(formatCaretExcerpt(sql, 1001)).to.equal(`${'a'.repeat(50)}X${'b'.repeat(49)}\n${' '.repeat(50)}^`);
    expect(formatCaretExcerpt(sql, 1)).to.equal(`${'a'.repeat(100)}\n^`);
    expect(formatCaretExcerpt(sql, 2001)).to.equal(`${'b'.repeat(99)}b\n${' '.repeat(99)}^`);
  });

  it('puts the caret below the character at the position', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', 'é', '😀', '\n', 'x'),
      minLength: 1,
      maxLength: 300,
    });
    fc.assert(
      fc.property(text, fc.nat(), (start, n) => {
        const sql = `${start}x`;
        const position = (n % Array.from(sql).length) + 1;
        const [line = '', caret = ''] = formatCaretExcerpt(sql, position).split('\n');
        const expected = Array.from(sql)[position - 1];
        if (expected !== '\n') expect(Array.from(line)[caret.length - 1]).to.equal(expected);
        expect(Array.from(line)).to.have.length.at.most(100);
      }),
    );
  });
});
