import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ROOT } from '../support/cli.js';

/** The files with the types of the package. */
const FILES = ['index.d.ts', 'testing.d.ts', 'types.d.ts'];

describe('the types in dist/index.d.ts', () => {
  let types: string;

  before(async () => {
    types = (await Promise.all(FILES.map((file) => readFile(join(ROOT, 'dist', file), 'utf8')))).join('\n');
  });

  it('have the doc comments of each public declaration and of its members', async () => {
    const declared = await readPublicDeclarations();
    expect(declared.length).to.be.above(40);
    const inTypes = new Set(findDocComments(types));
    const lost = declared.flatMap(({ name, text }) =>
      findDocComments(text)
        .filter((comment) => !comment.includes('@internal') && !inTypes.has(comment))
        .map((comment) => `${name}: ${comment}`),
    );
    expect(lost).to.deep.equal([]);
  });

  it('have each doc comment before its declaration, where an editor finds it', () => {
    const misplaced = types.split('\n').filter((line) => /; \/\*\*/.test(line));
    expect(misplaced).to.deep.equal([]);
  });

  it('name neither Objection nor any internal declaration', () => {
    const imported = [...types.matchAll(/^import .* from "(.*)";$/gm)].map(([, name]) => name);
    expect(new Set(imported.filter((name) => !name?.startsWith('./')))).to.deep.equal(
      new Set(['knex', 'node:stream', 'pg']),
    );
    expect(types).to.not.match(/@internal|\bWire\b|\bProtocolClient\b/);
  });
});

interface Declaration {
  readonly name: string;
  /** The declaration with its doc comment. */
  readonly text: string;
}

/** Reads the declarations that the entries of the package export, from the files that declare them. */
async function readPublicDeclarations(): Promise<Declaration[]> {
  const entries = ['src/index.ts', 'src/library/testing.ts'].map((file) => join(ROOT, file));
  return (await Promise.all(entries.map(readDeclarationsOf))).flat();
}

async function readDeclarationsOf(index: string): Promise<Declaration[]> {
  const exported = [
    ...(await readFile(index, 'utf8')).matchAll(/export (?:type )?\{([^}]*)\} from '(.*)';/g),
  ];
  const found = exported.map(async ([, names = '', file = '']) => {
    const source = await readFile(join(dirname(index), file.replace(/\.js$/, '.ts')), 'utf8');
    const list = names.split(',').map((name) => name.replace('type ', '').trim());
    return list.filter((name) => name !== '').map((name) => ({ name, text: findDeclaration(source, name) }));
  });
  return (await Promise.all(found)).flat();
}

function findDeclaration(source: string, name: string): string {
  const comment = String.raw`(?:/\*\*(?:(?!\*/)[^])*\*/\n)?`;
  const declaration = new RegExp(
    `${comment}export (?:type|interface|class|function|async function) ${name}\\b(?:[^\\n]*;\\n|[^]*?\\n(?:\\}|\\).*;|  .*;)\\n)`,
  );
  const [text] = declaration.exec(source) ?? expect.fail(`${name} is not declared where it is exported from`);
  return text;
}

/** Finds the doc comments in a text, each joined to one line. */
function findDocComments(text: string): string[] {
  const comments = text.match(/\/\*\*(?:(?!\*\/)[^])*\*\//g) ?? [];
  return comments.map((comment) => comment.replaceAll(/\n\s*\*?/g, ' ').replaceAll(/\s+/g, ' '));
}
