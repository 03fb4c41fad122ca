// Writes dist/index.d.ts and dist/testing.d.ts, and the same for `require`: the types of the public API, instead of one file for
// each module of `src`.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '..');
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));

/**
 * Writes `index.d.ts` and `testing.d.ts` to `directory`. The compiler writes the declarations, except those with the tag `@internal`. The
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
      input: {
        index: join(declarations, 'index.d.ts'),
        testing: join(declarations, 'library/testing.d.ts'),
      },
      external: /^[^./]/,
      plugins: dts({ dtsInput: true, emitDtsOnly: true, tsconfig: false }),
      experimental: { attachDebugInfo: 'none' },
    });
    // The types that both entries use are in a file of their own.
    const { output } = await bundle.write({ dir: directory, chunkFileNames: 'types.d.ts' });
    await bundle.close();
    const files = output.map(({ fileName }) => join(directory, fileName));
    await letTypesOfPgBeMissing(files);
    await writeTypesForRequire(files);
  } finally {
    await rm(declarations, { recursive: true });
  }
}

/**
 * Turns off the error of the compiler about the import of pg, whose types a project need not install. Without them,
 * `session.pg` has the type `any`. Throws if no file imports pg.
 */
async function letTypesOfPgBeMissing(files) {
  let imports = 0;
  for (const file of files) {
    const text = await readFile(file, 'utf8');
    const changed = text.replace(/^import .* from "pg";$/m, (line) => {
      imports++;
      return `// @ts-ignore -- the types of pg are optional\n${line}`;
    });
    await writeFile(file, changed);
  }
  if (imports === 0) throw new Error('no declaration imports the types of pg');
}

/** Writes each file again for CommonJS: TypeScript takes a declaration for ES modules or for CommonJS by its name. */
async function writeTypesForRequire(files) {
  for (const file of files) {
    const text = await readFile(file, 'utf8');
    await writeFile(
      file.replace(/\.d\.ts$/, '.d.cts'),
      text.replaceAll(/(from ['"]\.\/[\w-]+)\.js(['"])/g, '$1.cjs$2'),
    );
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
