// The licences of the packages that a bundle holds: each asks for its text to go along with its code.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One text for all packages among the inputs of esbuild's metafile, by name. Paths are relative to `root`. */
export function licensesOf(inputs, root) {
  const folders = new Set(inputs.map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]));
  const texts = [...folders]
    .filter((folder) => folder !== undefined)
    .map((folder) => textOf(join(root, folder)));
  return `${[...new Set(texts)].toSorted().join(`\n${'-'.repeat(80)}\n\n`)}`;
}

function textOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((each) => /^(?:licen[sc]e|copying)(?:\.|-|$)/i.test(each));
  const text =
    file === undefined ? 'The package has no text of its licence.' : readFileSync(join(folder, file), 'utf8');
  return `${name} ${version}, ${license}\n\n${text.trim()}\n`;
}
