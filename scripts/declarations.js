// Writes dist/index.d.ts: one file with the types of the public API, instead of one file for each module of `src`.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '..');
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));

/**
 * Writes `index.d.ts` to `directory`. The compiler writes the declarations, except those with the tag `@internal`. The
 * bundler joins the declarations, and needs no TypeScript.
 */
export async function bundleTypes(directory) {
  const declarations = await mkdtemp(join(tmpdir(), 'etl-types-'));
  try {
    const emitted = emitDeclarations(declarations);
    // Loads the bundler while the compiler works.
    const [{ rolldown }, { dts }] = await Promise.all([
      import('rolldown'),
      import('rolldown-plugin-dts'),
      emitted,
    ]);
    const bundle = await rolldown({
      input: { index: join(declarations, 'index.d.ts') },
      external: /^[^./]/,
      plugins: dts({ dtsInput: true, emitDtsOnly: true, tsconfig: false }),
      experimental: { attachDebugInfo: 'none' },
    });
    await bundle.write({ dir: directory });
    await bundle.close();
  } finally {
    await rm(declarations, { recursive: true });
  }
}

async function emitDeclarations(directory) {
  const args = [join(typescript, 'bin/tsc'), '-p', join(root, 'tsconfig.build.json'), '--outDir', directory];
  try {
    await promisify(execFile)(process.execPath, args, { cwd: root });
  } catch (error) {
    throw new Error(error.stdout || error.message, { cause: error });
  }
}
