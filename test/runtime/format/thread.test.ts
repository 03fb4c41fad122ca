import { expect } from 'chai';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { build } from 'esbuild';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { encodedRows as EncodedRows } from '../../../src/runtime/format/encoded-rows.js';
import type { TransformModule } from '../../../src/runtime/format/transform-module.js';
import type { InputFile, InputRows } from '../../../src/runtime/input/input.js';
import { ROOT } from '../../support/cli.js';

/** As it is released: the thread is a file beside that of the program. */
async function bundled(folder: string): Promise<typeof EncodedRows> {
  await build({
    entryPoints: ['encoded-rows', 'transform-thread'].map((name) =>
      join(ROOT, `src/runtime/format/${name}.ts`),
    ),
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    packages: 'external',
    define: { 'import.meta.url': 'url' },
    banner: { js: `const url = require('node:url').pathToFileURL(__filename).href;` },
  });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const program = createRequire(import.meta.url)(join(folder, 'encoded-rows.cjs')) as {
    encodedRows: typeof EncodedRows;
  };
  return program.encodedRows;
}

describe('a transform in a module', () => {
  let encodedRows: typeof EncodedRows;
  let folder: string;
  let transform: TransformModule;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'etl-transform-'));
    encodedRows = await bundled(folder);
    const path = join(folder, 'transform.mjs');
    await writeFile(
      path,
      `import { isMainThread } from 'node:worker_threads';
       export default ({ n }) => ({ n: Number(n) * 2, place: isMainThread ? 'main' : 'thread' });
       export const fail = ({ n }) => { if (n === '3') throw new Error('three'); return { n }; };
       export const exit = () => process.exit(7);`,
    );
    await writeFile(join(folder, 'typed.ts'), 'export default ({ n }: { n: string }) => ({ n: `${n}!` });');
    transform = { module: pathToFileURL(path) };
  });
  after(() => rm(folder, { recursive: true }));

  function file(chunks: Iterable<string>, onEnd = (): void => {}): InputFile {
    return {
      name: 'in.csv',
      async *chunks() {
        try {
          for (const chunk of chunks) yield Buffer.from(chunk);
        } finally {
          onEnd();
        }
      },
    };
  }
  async function read(input: InputFile | InputRows, module: TransformModule) {
    await using rows = await encodedRows(input, { transform: module });
    const parts: Buffer[] = [];
    for await (const chunk of rows?.chunks() ?? []) parts.push(chunk);
    const columns = rows?.columns.map(({ name, type }) => `${name} ${type}`);
    return { columns, text: Buffer.concat(parts).toString() };
  }

  it('runs in a thread of its own', async () => {
    expect(await read(file(['n\n1\n', '2\n']), transform)).to.deep.equal({
      columns: ['n bigint', 'place text'],
      text: '2\tthread\n4\tthread\n',
    });
  });

  it('runs in this thread for rows of code', async () => {
    const input: InputRows = { name: 'code', rows: async function* () { yield [{ n: 1 }]; } }; // prettier-ignore
    expect((await read(input, transform)).text).to.equal('2\tmain\n');
  });

  it('may be TypeScript', async () => {
    const module = pathToFileURL(join(folder, 'typed.ts'));
    expect((await read(file(['n\n1\n']), { module })).text).to.equal('1!\n');
  });

  it('may get an empty file', async () => {
    expect(await read(file(['']), transform)).to.deep.equal({ columns: undefined, text: '' });
  });

  it('gets every row of a large file, in their order', async () => {
    const lines = Array.from({ length: 300 }, (_, i) =>
      Array.from({ length: 1000 }, (__, j) => `${i * 1000 + j}\n`).join(''),
    );
    const { text } = await read(file(['n\n', ...lines]), transform);
    const rows = text.split('\n').slice(0, -1);
    expect(rows.length).to.equal(300_000);
    expect(rows.every((row, index) => row === `${index * 2}\tthread`)).to.equal(true);
  });

  it('has its error said with the place of the row', async () => {
    const error = await read(file(['n\n1\n', '3\n']), { ...transform, name: 'fail' }).catch(
      (reason: unknown) => reason,
    );
    expect(error).to.include({ code: 'ETL-3559', where: 'in.csv, line 3', why: 'three' });
  });

  const failing: readonly [title: string, module: () => TransformModule, text: RegExp][] = [
    [
      'that is not there',
      () => ({ module: pathToFileURL(join(folder, 'none.mjs')) }),
      /could not be imported/,
    ],
    ['without the export', () => ({ ...transform, name: 'other' }), /exports no function "other"/],
    ['that ends its thread', () => ({ ...transform, name: 'exit' }), /ended early/],
  ];
  for (const [title, module, text] of failing) {
    it(`is refused for a module ${title}`, async () => {
      expect(String(await read(file(['n\n1\n']), module()).catch((error: unknown) => error))).to.match(text);
    });
  }

  it('passes on the error of the input', async () => {
    const broken: InputFile = { name: 'in.csv', async *chunks() { yield Buffer.from('n\n1\n'); throw new Error('unplugged'); } }; // prettier-ignore
    expect(String(await read(broken, transform).catch((error: unknown) => error))).to.match(/unplugged/);
  });

  it('closes the input when the rows are not wanted', async () => {
    let isClosed = false;
    const endless = function* (): Generator<string> { yield 'n\n'; for (;;) yield '1\n'.repeat(1000); }; // prettier-ignore
    const rows = await encodedRows(
      file(endless(), () => (isClosed = true)),
      { transform },
    );
    for await (const chunk of rows?.chunks() ?? []) if (chunk.length > 0) break;
    expect(isClosed).to.equal(true);
  });
});
