import { expect } from 'chai';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ROOT } from './support/cli.js';

/** What the linter can't see, because it would have to look at itself. */
describe('the house rules', () => {
  const files: string[] = [];

  before(async () => {
    for (const folder of ['src', 'test', 'bench', 'scripts', 'bin', 'examples']) {
      const names = await readdir(join(ROOT, folder), { recursive: true });
      files.push(...names.filter((name) => /\.[jt]s$/.test(name)).map((name) => join(folder, name)));
    }
  });

  it('let nobody silence the linter without saying why', async () => {
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

  it('let nobody lift the caps on the length of a file and of a function for src', async () => {
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

  it('give every file a name of the domain', () => {
    const vague = /^(?:utils?|helpers?|managers?|services?|handlers?|types|constants|common|misc)\b/;
    expect(files.filter((file) => vague.test(basename(file)))).to.deep.equal([]);
  });
});

interface Override {
  readonly files: readonly string[];
  readonly rules: Readonly<Record<string, unknown>>;
}

/** `@ts-expect-error` is left to the rule ban-ts-comment. */
function isSuppression(line: string): boolean {
  return /\/[/*]\s*(?:ox|es)lint-disable/.test(line);
}
