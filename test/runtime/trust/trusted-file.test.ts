import { expect } from 'chai';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtlError } from '../../../src/errors.js';
import { assertTrusted } from '../../../src/runtime/trust/trusted-file.js';

const OTHER = 4321;
const isRoot = process.getuid?.() === 0;

describe('a file is trusted', () => {
  let directory = '';
  beforeEach(() => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), 'etl-trust-')));
    mkdirSync(join(directory, 'src'), { mode: 0o755 });
    writeFileSync(join(directory, 'src/a.ts'), '', { mode: 0o644 });
    mkdirSync(join(directory, 'links'), { mode: 0o755 });
    symlinkSync('../src/a.ts', join(directory, 'links/a.ts'));
    symlinkSync('../src', join(directory, 'links/src'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const path = (name: string): string => join(directory, name);
  /** Returns the error as text. Undefined if the file is trusted. */
  function refuse(name: string, uid?: number): string | undefined {
    try {
      assertTrusted(path(name), { noun: 'the file', name }, () => uid ?? process.getuid?.() ?? 0);
      return undefined;
    } catch (error) {
      if (!(error instanceof EtlError)) throw error;
      expect(error).to.include({ code: 'ETL-2102', message: `the file ${name} was refused`, where: name });
      return `${error.why}; ${error.fix}`;
    }
  }
  const everyone = 'every user of this machine can write to';

  it('if only its owner can write to it and to its directory', () => {
    expect(refuse('src/a.ts')).to.equal(undefined);
    expect(refuse('links/a.ts')).to.equal(undefined);
    expect(refuse('links/src/a.ts')).to.equal(undefined);
  });

  it('if its owner is another user', () => {
    expect(refuse('src/a.ts', OTHER)).to.equal(undefined);
  });

  it('if it does not exist or if its link leads nowhere, so that the reader reports it', () => {
    symlinkSync('loop', path('loop'));
    symlinkSync('nowhere', path('dangling'));
    for (const name of ['none.ts', 'none/a.ts', 'loop', 'dangling']) expect(refuse(name)).to.equal(undefined);
  });

  it('but not if every user can write to it, or to its directory', () => {
    chmodSync(path('src/a.ts'), 0o646);
    for (const name of ['src/a.ts', 'links/a.ts', 'links/src/a.ts'])
      expect(refuse(name))
        .to.include(`${everyone} the file`)
        .and.include(`\`chmod go-w ${path('src/a.ts')}\``);
    chmodSync(path('src/a.ts'), 0o644);
    chmodSync(path('src'), 0o777);
    for (const name of ['src/a.ts', 'links/a.ts', 'links/src/a.ts'])
      expect(refuse(name))
        .to.include(`${everyone} the directory ${path('src')}`)
        .and.include(`\`chmod go-w ${path('src')}\``);
  });

  it('but not if every user can change a link that leads to it', () => {
    chmodSync(path('links'), 0o777);
    for (const name of ['links/a.ts', 'links/src/a.ts'])
      expect(refuse(name)).to.include(`${everyone} the directory ${path('links')}`);
    expect(refuse('src/a.ts')).to.equal(undefined);
  });

  it('but not if a group with other members can write to it', () => {
    if (isRoot) chownSync(path('src/a.ts'), OTHER, OTHER);
    chmodSync(path('src/a.ts'), 0o664);
    expect(refuse('src/a.ts', OTHER + 1)).to.match(/^every member of group \d+ can write to the file/);
  });

  it('in a directory where all users create files, if it belongs to this user', () => {
    chmodSync(path('src'), 0o1777);
    expect(refuse('src/a.ts')).to.equal(undefined);
  });

  // Only root can change the owner of a file.
  if (isRoot)
    it('but not in such a directory, if it belongs to another user', () => {
      chmodSync(path('src'), 0o1777);
      chownSync(path('src/a.ts'), OTHER, OTHER);
      expect(refuse('src/a.ts', 1234)).to.include(`user ${OTHER} has put the file into ${path('src')}`);
      expect(refuse('src/a.ts', OTHER)).to.equal(undefined);
    });

  it('in a volume of Kubernetes, where links in a directory for all users lead to the files', () => {
    mkdirSync(path('volume'));
    mkdirSync(path('volume/..2026_11_28'), { mode: 0o755 });
    writeFileSync(path('volume/..2026_11_28/.env'), '', { mode: 0o644 });
    symlinkSync('..2026_11_28', path('volume/..data'));
    symlinkSync('..data/.env', path('volume/.env'));
    // The kubelet makes the directory of the volume with this mode. Its umask does not apply.
    chmodSync(path('volume'), 0o1777);
    expect(refuse('volume/.env')).to.equal(undefined);
  });

  it('on a system without users', () => {
    chmodSync(path('src/a.ts'), 0o666);
    expect(() => assertTrusted(path('src/a.ts'), { noun: 'the file' }, undefined)).not.to.throw();
  });
});
