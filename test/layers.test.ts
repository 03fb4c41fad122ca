import { expect } from 'chai';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path/posix';
import { parseSync } from 'oxc-parser';
import { ROOT } from './support/cli.js';

/**
 * The layers of `src`, from the top. A file may import its own folder and every later layer. Folders of one layer do
 * not import each other, except the pairs in `SAME_LAYER`.
 */
const LAYERS: readonly (readonly string[])[] = [
  ['cli.ts'],
  ['command.ts', 'commands', 'commands/program'],
  ['index.ts'],
  ['library'],
  ['runtime/run'],
  ['runtime/attempt', 'runtime/config'],
  ['runtime/dag'],
  ['runtime/tasks', 'runtime/database'],
  ['runtime/session', 'runtime/format', 'runtime/watermark', 'runtime/input'],
  ['runtime/copy', 'runtime/table', 'runtime/ledger', 'runtime/report'],
  ['runtime/postgres', 'runtime/sql', 'runtime/interval', 'runtime/fingerprint'],
  ['hooks', 'runtime/modules'],
  ['runtime/trust'],
  ['runtime/duration.ts', 'runtime/json.ts', 'runtime/waiting.ts'],
  ['errors.ts'],
  ['runtime/secrets'],
];

/** Imports that are allowed inside one layer, from the first to the second. */
const SAME_LAYER: readonly (readonly [string, string])[] = [
  ['commands', 'command.ts'],
  ['commands', 'commands/program'],
  ['command.ts', 'commands/program'],
  ['runtime/database', 'runtime/tasks'],
  ['runtime/format', 'runtime/input'],
  ['runtime/postgres', 'runtime/sql'],
  ['runtime/duration.ts', 'runtime/json.ts'],
];

/** The maximum number of files directly in a folder of folders. */
const LOOSE_FILES = { src: 5, 'src/runtime': 3 };

interface Import {
  /** The importing file and the imported file, from `src`. */
  readonly from: string;
  readonly to: string;
  /** The line of the import, from 1. */
  readonly line: number;
}

describe('the layers of src', () => {
  let files: readonly string[] = [];
  let imports: readonly Import[] = [];

  before(async () => {
    const names = await readdir(join(ROOT, 'src'), { recursive: true });
    files = names.filter((name) => name.endsWith('.ts'));
    imports = (await Promise.all(files.map(readImports))).flat();
  });

  it('list the folder of every file', () => {
    const unlisted = files.filter((file) => !LAYERS.flat().includes(findEntry(file)));
    expect(unlisted).to.deep.equal([]);
  });

  it('import only downward, type imports included', () => {
    const wrong = imports.filter(({ from, to }) => !isAllowed(findEntry(from), findEntry(to)));
    expect(wrong.map(({ from, to, line }) => `src/${from}:${line} imports src/${to}`)).to.deep.equal([]);
  });

  it('contain no import circle of any size', () => {
    expect(findCircles(files, imports)).to.deep.equal([]);
  });

  for (const [folder, most] of Object.entries(LOOSE_FILES)) {
    it(`have at most ${most} loose files in ${folder}`, async () => {
      const entries = await readdir(join(ROOT, folder), { withFileTypes: true });
      expect(entries.filter((entry) => entry.isFile()).length).to.be.at.most(most);
    });
  }

  it('have no two files with the same base name, except in commands and hooks', () => {
    const isNamedByPath = (file: string): boolean => /^(?:commands|hooks)\/|^index\.ts$/.test(file);
    const seen = new Map<string, string>();
    const twice: string[] = [];
    for (const file of files.filter((each) => !isNamedByPath(each))) {
      const name = file.slice(file.lastIndexOf('/') + 1);
      const other = seen.get(name);
      if (other !== undefined) twice.push(`${other} and ${file}`);
      seen.set(name, file);
    }
    expect(twice).to.deep.equal([]);
  });
});

/** Reads the imports of a file that name another file of `src`: static and dynamic imports, re-exports, and types. */
async function readImports(file: string): Promise<readonly Import[]> {
  const text = await readFile(join(ROOT, 'src', file), 'utf8');
  const { program, errors, module } = parseSync(file, text);
  expect(errors, file).to.deep.equal([]);
  const found: { readonly specifier: string; readonly start: number }[] = [];
  for (const { moduleRequest, start } of module.staticImports)
    found.push({ specifier: moduleRequest.value, start });
  for (const { entries, start } of module.staticExports) {
    const specifier = entries.find(({ moduleRequest }) => moduleRequest !== null)?.moduleRequest?.value;
    if (specifier !== undefined) found.push({ specifier, start });
  }
  visit(program, (node) => {
    const specifier = node.source?.value;
    if (/^(?:ImportExpression|TSImportType)$/.test(node.type) && typeof specifier === 'string')
      found.push({ specifier, start: node.start });
  });
  return found
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map(({ specifier, start }) => ({
      from: file,
      to: join(file, '..', specifier).replace(/\.js$/, '.ts'),
      line: text.slice(0, start).split('\n').length,
    }));
}

interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly source?: { readonly value?: unknown };
}

/** Calls `onNode` for each node of a syntax tree. */
function visit(value: unknown, onNode: (node: SyntaxNode) => void): void {
  if (typeof value !== 'object' || value === null) return;
  if ('type' in value && 'start' in value) onNode(value as SyntaxNode);
  for (const each of Object.values(value)) visit(each, onNode);
}

function isIn(file: string, entry: string): boolean {
  return file === entry || file.startsWith(`${entry}/`);
}

/**
 * Finds the entry of `LAYERS` for a file. The longest entry counts, because `commands/program` is inside `commands`.
 */
function findEntry(file: string): string {
  const entries = LAYERS.flat().filter((entry) => isIn(file, entry));
  return entries.toSorted((a, b) => b.length - a.length)[0] ?? file;
}

function isAllowed(from: string, to: string): boolean {
  if (from === to) return true;
  const findLayer = (entry: string): number => LAYERS.findIndex((layer) => layer.includes(entry));
  if (findLayer(from) < findLayer(to)) return true;
  return SAME_LAYER.some(([upper, lower]) => upper === from && lower === to);
}

/**
 * Finds the sets of files that import each other, by Tarjan's algorithm
 * (https://en.wikipedia.org/wiki/Tarjan%27s_strongly_connected_components_algorithm).
 */
function findCircles(files: readonly string[], imports: readonly Import[]): readonly (readonly string[])[] {
  const indexes = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const circles: string[][] = [];
  const connect = (file: string): void => {
    indexes.set(file, indexes.size);
    lowest.set(file, indexes.size - 1);
    stack.push(file);
    for (const { to } of imports.filter(({ from }) => from === file)) {
      if (!indexes.has(to)) connect(to);
      else if (!stack.includes(to)) continue;
      lowest.set(file, Math.min(lowest.get(file) ?? 0, lowest.get(to) ?? 0));
    }
    if (lowest.get(file) !== indexes.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1) circles.push(circle);
  };
  for (const file of files) if (!indexes.has(file)) connect(file);
  return circles;
}
