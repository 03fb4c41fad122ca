import { expect } from 'chai';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ROOT } from './support/cli.js';

/** The folder of code that Prisma has generated. */
const GENERATED = 'test/fixtures/prisma/client/';

/** The rules that the linter can't check, because they are about the linter's own settings. */
describe('the conventions of the code', () => {
  const files: string[] = [];

  before(async () => {
    for (const folder of ['src', 'test', 'bench', 'scripts', 'bin', 'examples']) {
      const names = await readdir(join(ROOT, folder), { recursive: true });
      const paths = names.filter((name) => /\.[jt]s$/.test(name)).map((name) => join(folder, name));
      files.push(...paths.filter((path) => !path.startsWith(GENERATED)));
    }
  });

  it('forbid a comment that turns off a lint rule without a reason', async () => {
    const silent: string[] = [];
    for (const file of files) {
      const lines = (await readFile(join(ROOT, file), 'utf8')).split('\n');
      silent.push(
        ...lines
          .filter((line) => isSuppression(line) && !/ -- \w/.test(line))
          .map((line) => `${file}: ${line}`),
      );
    }
    expect(silent).to.deep.equal([]);
  });

  it('forbid an exception for src from the caps on the length of a file and of a function', async () => {
    const { rules, overrides } = JSON.parse(await readFile(join(ROOT, '.oxlintrc.json'), 'utf8'));
    expect(rules).to.deep.include({
      'max-lines': ['error', { max: 300, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 50, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', { max: 4 }],
      'typescript/no-explicit-any': 'error',
    });
    const lifted = overrides.filter(
      (each: Override) =>
        each.files.some((pattern) => /^(?:src|\*)/.test(pattern)) &&
        Object.keys(each.rules).some((rule) => /^max-|no-explicit-any/.test(rule)),
    );
    expect(lifted).to.deep.equal([]);
  });

  it('forbid vague file names', () => {
    const vague = /^(?:utils?|helpers?|managers?|services?|handlers?|types|constants|common|misc)\b/;
    expect(files.filter((file) => vague.test(basename(file)))).to.deep.equal([]);
  });
});

interface Override {
  readonly files: readonly string[];
  readonly rules: Readonly<Record<string, unknown>>;
}

/** Returns true for a comment that turns off a lint rule. The rule ban-ts-comment checks `@ts-expect-error`. */
function isSuppression(line: string): boolean {
  return /\/[/*]\s*(?:ox|es)lint-disable/.test(line);
}
