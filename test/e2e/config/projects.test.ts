import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../../support/cli.js';
import { loadWithEtl, writeProject } from './project-run.js';
import { CONFIG_PROJECTS } from './projects.js';

/**
 * By title of a project: the values that another program has seen in it. `projects.nightly.ts` compares the file with
 * these programs, and `UPDATE_CONFIG_PROJECTS=1` with that test writes the file.
 */
const EXPECTED = join(ROOT, 'test/fixtures/config/projects.json');

describe('a config', () => {
  let expected: Readonly<Record<string, unknown>>;
  before(async () => {
    expected = JSON.parse(await readFile(EXPECTED, 'utf8'));
  });

  it('is tested in the same projects as the programs whose results are known', () => {
    expect(Object.keys(expected)).to.have.members(CONFIG_PROJECTS.map(({ title }) => title));
  });

  for (const project of CONFIG_PROJECTS) {
    it(`is loaded as tsx, tsc or Node.js would run it: ${project.title}`, async () => {
      await using folder = await writeProject(project);
      for (const time of ['compiled', 'cached'])
        expect(await loadWithEtl(project, folder.directory, process.execPath), time).to.deep.equal(
          expected[project.title],
        );
    });
  }
});
