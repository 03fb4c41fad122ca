import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../support/cli.js';

const run = promisify(execFile);

describe('the build', () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'etl-build-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('writes the same bytes again, so that everybody can check a published tarball', async () => {
    await run(process.execPath, [join(ROOT, 'scripts/build.js'), folder], {
      cwd: tmpdir(),
      timeout: 100_000,
    });
    expect(await hashFiles(folder)).to.deep.equal(await hashFiles(join(ROOT, 'dist')));
  });
});

/** Returns the hash of each file in a folder. */
async function hashFiles(folder: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const hashes: Record<string, string> = {};
  for (const each of entries.filter((entry) => entry.isFile())) {
    const file = join(each.parentPath, each.name);
    hashes[file.slice(folder.length)] = createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
  }
  return hashes;
}
