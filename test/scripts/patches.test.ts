import { expect } from 'chai';
import { build, type Plugin } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { runInThisContext } from 'node:vm';
import { ROOT } from '../support/cli.js';

interface Patches {
  readonly PATCHES: readonly Plugin[];
  createTextPatch(name: string, file: RegExp, replacements: readonly (readonly [RegExp, string])[]): Plugin;
  replaceImports(code: string): string;
  delayBuiltins(code: string): string;
}

describe('a patch of a library in the bundle', () => {
  let patches: Patches;
  let folder: string;

  before(async () => {
    patches = (await import(join(ROOT, 'scripts/patches.js'))) as Patches;
    folder = await mkdtemp(join(tmpdir(), 'etl-patches-'));
    await writeFile(join(folder, 'entry.js'), `module.exports = [require('./library.js'), 1];\n`);
    await writeFile(join(folder, 'library.js'), `module.exports = 'slow and slow';\n`);
  });
  after(() => rm(folder, { recursive: true }));

  async function bundle(...plugins: Plugin[]): Promise<string> {
    const entryPoints = [join(folder, 'entry.js')];
    const { outputFiles } = await build({
      entryPoints,
      bundle: true,
      write: false,
      logLevel: 'silent',
      plugins,
    });
    return outputFiles.map(({ text }) => text).join('');
  }

  /** Bundles with a patch that fails the build. Returns the message of the failure. */
  async function getFailure(patch: Plugin): Promise<string> {
    return await bundle(patch).then(
      () => expect.fail('the bundle was built'),
      (error: unknown) => (error as Error).message,
    );
  }

  it('changes each match of its pattern', async () => {
    const patch = patches.createTextPatch('faster', /library\.js$/, [[/slow/g, 'fast']]);
    expect(await bundle(patch)).to.include('fast and fast');
  });

  it('fails the build and names itself if a pattern does not match', async () => {
    const replacements = [[/slow/g, 'fast'] as const, [/upgraded/g, ''] as const];
    const patch = patches.createTextPatch('faster', /library\.js$/, replacements);
    expect(await getFailure(patch)).to.match(
      /patch faster: found nothing to change: no \/upgraded\/g in .*library\.js/,
    );
  });

  it('fails the build and names itself if there is no such file', async () => {
    const patch = patches.createTextPatch('faster', /moved\.js$/, [[/slow/g, 'fast']]);
    expect(await getFailure(patch)).to.include('patch faster: found nothing to change');
  });

  it('fails the build and names itself, for each patch of the program that finds nothing', async () => {
    expect(patches.PATCHES.map(({ name }) => name)).to.deep.equal([
      'plain-order',
      'plain-help',
      'late-validator',
      'no-glob',
      'no-user',
      'no-home',
      'no-global-config',
      'public-types',
    ]);
    for (const patch of patches.PATCHES)
      expect(await getFailure(patch)).to.include(`patch ${patch.name}: found nothing to change`);
    expect(() => patches.replaceImports('require("a")')).to.throw(
      'patch late-import: found nothing to change',
    );
    expect(() => patches.delayBuiltins('require("node:fs")')).to.throw(
      'patch late-builtins: found nothing to change',
    );
  });

  it('replaces import(), but neither a method `import` nor the word in a string', () => {
    const code = `import(a); b.import(c); "import(d)"; import("e")`;
    expect(patches.replaceImports(code)).to.equal(
      `importModule(a); b.import(c); "import(d)"; importModule("e")`,
    );
  });

  it('loads a module of Node.js at its first use, also one that is imported as a whole', async () => {
    await writeFile(
      join(folder, 'late.mjs'),
      `import { createHash, randomUUID } from 'node:crypto';
       import { get } from 'node:http';
       import { Agent } from 'node:https';
       import { ReadableStream } from 'node:stream/web';
       import { Worker } from 'node:worker_threads';
       import * as zlib from 'node:zlib';
       export const use = () => [
         createHash('sha256').update('a').digest('hex'), typeof randomUUID(), typeof get, new Agent() instanceof Agent,
         new ReadableStream() instanceof ReadableStream, [] instanceof Worker, zlib.gunzipSync(zlib.gzipSync('b')).toString(),
         zlib.constants.Z_BEST_SPEED, zlib.noSuchFunction,
       ];`,
    );
    const { outputFiles } = await build({
      entryPoints: [join(folder, 'late.mjs')],
      bundle: true,
      write: false,
      format: 'cjs',
      platform: 'node',
      minify: true,
    });
    const loaded: string[] = [];
    const own = createRequire(import.meta.url);
    const load = (name: string): unknown => {
      loaded.push(name);
      return own(name);
    };
    const module = { exports: {} as { use: () => unknown[] } };
    const code = patches.delayBuiltins(outputFiles.map(({ text }) => text).join(''));
    runInThisContext(`(function (module, exports, require) {${code}\n})`)(module, module.exports, load);
    expect(loaded).to.deep.equal([]);
    expect(module.exports.use()).to.deep.equal([
      createHash('sha256').update('a').digest('hex'),
      'string',
      'function',
      true,
      true,
      false,
      'b',
      1,
      undefined,
    ]);
    expect(new Set(loaded)).to.have.length(6);
  });
});
