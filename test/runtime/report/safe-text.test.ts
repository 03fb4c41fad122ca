import { expect } from 'chai';
import fc from 'fast-check';
import { HOSTILE, isObeyed, splitLines } from '../../support/hostile-text.js';
import { formatJson, neutralizeLines, neutralizeText } from '../../../src/runtime/report/safe-text.js';

describe('a text from elsewhere', () => {
  it('has no control character and no line that a CI system obeys when it is written', () => {
    fc.assert(
      fc.property(HOSTILE, (text) => {
        const safe = neutralizeLines(text);
        expect(safe).not.to.match(/[^\P{Cc}\n\t]|[\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/u);
        expect(splitLines(safe).filter(isObeyed)).to.deep.equal([]);
      }),
      { numRuns: 2000 },
    );
  });

  const cases: [text: string, safe: string][] = [
    ['::error::x', String.raw`\x3a:error::x`],
    ['a\n  ::error::x', 'a\n  \\x3a:error::x'],
    ['a\r\n::error::x', 'a\n\\x3a:error::x'],
    ['a\r::error::x', String.raw`a\x0d::error::x`],
    ['a\u2028::error::x', String.raw`a\u2028::error::x`],
    ['x ##vso[task.setvariable]y', String.raw`x \x23#vso[task.setvariable]y`],
    ['##[group]', String.raw`\x23#[group]`],
    ["##teamcity[a='b']", String.raw`\x23#teamcity[a='b']`],
    ['section_start:1:a\r\u001b[0K', String.raw`section\x5fstart:1:a\x0d\x1b[0K`],
    ['--- a', String.raw`\x2d-- a`],
    ['red \u001b[31m', String.raw`red \x1b[31m`],
    ['\u202egnp.exe', String.raw`\u202egnp.exe`],
    ['tag \u{e0041}', String.raw`tag \u{e0041}`],
  ];
  for (const [text, safe] of cases) {
    it(`is written as ${safe}`, () => expect(neutralizeLines(text)).to.equal(safe));
  }

  it('stays as it is if it is harmless', () => {
    const text = 'a::b\n# c ## d #[e]\n---\n\tfe male 👩‍🚀 naïve 漢字\nC::D x=1';
    expect(neutralizeLines(text)).to.equal(text);
    expect(neutralizeText('::error::')).to.equal('::error::');
  });
});

describe('JSON for an output', () => {
  it('has the value of the data, and nothing that a terminal or a CI system obeys', () => {
    fc.assert(
      fc.property(fc.dictionary(HOSTILE, HOSTILE), fc.constantFrom(undefined, 2), (data, indent) => {
        const text = formatJson(data, indent);
        expect(JSON.parse(text)).to.deep.equal(JSON.parse(JSON.stringify(data)));
        expect(text).not.to.match(/[^\P{Cc}\n]|[\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/u);
        expect(splitLines(text).filter(isObeyed)).to.deep.equal([]);
      }),
      { numRuns: 1000 },
    );
  });
});
