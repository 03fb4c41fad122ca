import { expect } from 'chai';
import fc from 'fast-check';
import { formatJson, neutralizeLines, neutralizeText } from '../../../src/runtime/report/safe-text.js';

/** Texts that a terminal or a CI system obeys, and words around them. */
const HOSTILE = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '::error::',
        '::set-output name=a::b',
        '##vso[task.complete]',
        '##[group]a',
        '##teamcity[a]',
      ),
      fc.constantFrom(
        'section_start:1:a\r\u001b[0K',
        'travis_fold:start:a',
        '--- a',
        '+++ a',
        '^^^ +++',
        '~~~ a',
      ),
      fc.constantFrom(
        '\n',
        '\r',
        '\r\n',
        '\v',
        '\f',
        '\u0085',
        '\u2028',
        '\u2029',
        ' ',
        '\t',
        '\ufeff',
        '\u00a0',
      ),
      fc.constantFrom(
        '\u001b[2J',
        '\u009b31m',
        '\u001b]0;t\u0007',
        '\u202e',
        '\u2066',
        '\u200b',
        '\u{e0041}',
        '\0',
      ),
      fc.string({ unit: 'binary', maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));

/** The lines of a text, as the most generous reader splits them. */
function splitLines(text: string): readonly string[] {
  return text.split(/\r\n|[\n\v\f\r\u0085\u2028\u2029]/);
}

/**
 * Says whether a CI system obeys a line, by the parsers of their agents: GitHub's ActionCommand.TryParse and TryParseV2,
 * Azure's Command.TryParse, TeamCity's ServiceMessage, GitLab's Ansi2json, and Buildkite's header expression.
 */
function isObeyed(line: string): boolean {
  return (
    line.trimStart().startsWith('::') ||
    /##\[|##vso\[|##teamcity\[/i.test(line) ||
    /section_(?:start|end):\d+:/.test(line) ||
    /travis_(?:fold|time):/.test(line) ||
    /^(?:---|\+\+\+|~~~|\^\^\^) /.test(line)
  );
}

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
