import fc from 'fast-check';

/** Texts that a terminal or a CI system obeys, and words around them. */
export const HOSTILE = fc
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
export function splitLines(text: string): readonly string[] {
  return text.split(/\r\n|[\n\v\f\r\u0085\u2028\u2029]/);
}

/**
 * Says whether a CI system obeys a line, by the parsers of their agents: GitHub's ActionCommand.TryParse and TryParseV2,
 * Azure's Command.TryParse, TeamCity's ServiceMessage, GitLab's Ansi2json, and Buildkite's header expression.
 */
export function isObeyed(line: string): boolean {
  return (
    line.trimStart().startsWith('::') ||
    /##\[|##vso\[|##teamcity\[/i.test(line) ||
    /section_(?:start|end):\d+:/.test(line) ||
    /travis_(?:fold|time):/.test(line) ||
    /^(?:---|\+\+\+|~~~|\^\^\^) /.test(line)
  );
}
