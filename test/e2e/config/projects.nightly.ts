// Needs npm's packages `node@20`, `node@22`, `node@24` and `node@26`, which npm downloads.
import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../../support/cli.js';
import { loadWithEtl, loadWithSecond, writeProject } from './project-run.js';
import { CONFIG_PROJECTS } from './projects.js';

const run = promisify(execFile);
const VERSIONS = ['20', '22', '24', '26'];
const EXPECTED = join(ROOT, 'test/fixtures/config/projects.json');

describe('the projects whose configs must load', function () {
  this.timeout(1_200_000);

  it('see in tsx, tsc or Node.js the values that the tests expect', async () => {
    const seen: Record<string, unknown> = {};
    for (const project of CONFIG_PROJECTS) {
      await using folder = await writeProject(project);
      seen[project.title] = await loadWithSecond(project, folder.directory);
    }
    if (process.env['UPDATE_CONFIG_PROJECTS'])
      await writeFile(EXPECTED, `${JSON.stringify(seen, null, 2)}\n`);
    expect(seen).to.deep.equal(JSON.parse(await readFile(EXPECTED, 'utf8')));
  });

  it('load on each version of Node.js that is supported', async () => {
    const expected = JSON.parse(await readFile(EXPECTED, 'utf8')) as Readonly<Record<string, unknown>>;
    const nodes = await Promise.all(VERSIONS.map(findNode));
    const failures: string[] = [];
    const rows: string[] = [];
    for (const project of CONFIG_PROJECTS) {
      await using folder = await writeProject(project);
      const cells: string[] = [];
      for (const [index, node] of nodes.entries()) {
        const failure = await loadWithEtl(project, folder.directory, node).then(
          (value) => compare(value, expected[project.title]),
          (error: unknown) => String(error),
        );
        cells.push(failure === undefined ? 'ok' : 'FAILED');
        if (failure !== undefined) failures.push(`${project.title}, Node ${VERSIONS[index]}: ${failure}`);
      }
      rows.push(`| ${project.title} | ${cells.join(' | ')} |`);
    }
    print([`| project | ${VERSIONS.join(' | ')} |`, `| --- |${' --- |'.repeat(VERSIONS.length)}`, ...rows]);
    expect(failures).to.deep.equal([]);
  });
});

/** Returns the path of a version of Node.js. npm downloads it once. */
async function findNode(version: string): Promise<string> {
  const args = ['exec', '--yes', `--package=node@${version}`, '--', 'node', '-p', 'process.execPath'];
  const { stdout } = await run('npm', args, { cwd: tmpdir() });
  return stdout.trim();
}

/** Returns both values if they differ. */
function compare(value: unknown, expected: unknown): string | undefined {
  const [one, other] = [JSON.stringify(value), JSON.stringify(expected)];
  return one === other ? undefined : `${one} instead of ${other}`;
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}
