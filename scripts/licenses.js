// Finds the packages in the bundle and the texts of their licences. Each licence requires that its text is distributed
// with the code.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Returns the packages whose code is in a bundle, sorted by name and version, each package once. `metafiles` are the
 * metafiles of esbuild, whose paths are relative to `root`. Throws if a package names no licence or has no text of it.
 */
export function readPackages(metafiles, root) {
  const outputs = metafiles.flatMap((metafile) => Object.values(metafile.outputs));
  const files = outputs.flatMap(({ inputs }) =>
    Object.keys(inputs).filter((path) => inputs[path].bytesInOutput > 0),
  );
  const folders = new Set(files.map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]));
  folders.delete(undefined);
  const packages = new Map();
  for (const folder of folders) {
    const found = readPackage(join(root, folder));
    packages.set(`${found.name} ${found.version}`, found);
  }
  const byKey = [...packages].toSorted(([one], [other]) => (one < other ? -1 : 1));
  return byKey.map(([, found]) => found);
}

/** Joins the licences of the packages to one text, in the order of the packages. */
export function joinLicenses(packages) {
  const texts = packages.map(
    ({ name, version, license, text }) => `${name} ${version}, ${license}\n\n${text}\n`,
  );
  return texts.join(`\n${'-'.repeat(80)}\n\n`);
}

function readPackage(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (typeof license !== 'string') throw new Error(`the package ${name} ${version} names no licence`);
  const read = (pattern) => {
    const file = readdirSync(folder).find((each) => pattern.test(each));
    return file === undefined ? undefined : readFileSync(join(folder, file), 'utf8');
  };
  const text = read(/^(?:licen[sc]e|copying)(?:\.|-|$)/i) ?? findSection(read(/^readme(?:\.|$)/i) ?? '');
  if (text === undefined) throw new Error(`the package ${name} ${version} has no text of its licence`);
  return { name, version, license, text: text.trim() };
}

/** Returns the text below the heading "License" of a README. Undefined if there is no such heading. */
function findSection(readme) {
  return /^#+ *licen[sc]e *$([^]*?)(?=^#|(?![^]))/im.exec(readme)?.[1];
}
