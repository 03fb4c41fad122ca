import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { extname, join } from 'node:path';
import { learnFromSource } from '../secrets/learned-secrets.js';
import { decodeSource } from './source-text.js';
import { findPackageFolder, resolveImport, type ResolvedModule } from './resolve.js';

/** Matches an import or a `require` of a module, with its name in the second group. */
const IMPORT =
  /(?:\bfrom|\bimport|\bimport\s*\(|\brequire\s*\(|\bcreateRequire\s*\([^()]*\)\s*\()\s*(["'])([^"'\n]+)\1/g;

/**
 * Makes sure that no other user could have written the modules of a config, before they are executed. Each file is checked
 * once. Of a package, its manifest and the file that is imported are checked, with their directories.
 */
export class ModuleTrust {
  readonly #assertTrusted: (file: string) => void;
  readonly #seen = new Set<string>();

  /** `assertTrusted` throws if another user could have written the file. */
  constructor(assertTrusted: (file: string) => void) {
    this.#assertTrusted = assertTrusted;
  }

  /** Reads a file of the user that is going to be compiled. Its secrets are known before its code can throw an error. */
  readSource(file: string): string {
    this.#assertTrusted(file);
    const text = decodeSource(readFileSync(file), 'the module', file);
    learnFromSource(text);
    return text;
  }

  /**
   * Checks a module that Node.js or jiti is going to execute, and the modules that its text imports by name: nobody asks
   * before Node.js executes these.
   */
  checkTree(resolved: ResolvedModule, importer: string): void {
    if (resolved.kind === 'package') return this.#checkPackage(resolved.specifier, importer);
    const file = resolved.kind === 'require' ? resolved.id : resolved.file;
    if (isBuiltin(file) || this.#seen.has(file)) return;
    this.#seen.add(file);
    const [, inPackage] = /^(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(file) ?? [];
    if (inPackage !== undefined) {
      this.#assertTrusted(join(inPackage, 'package.json'));
      return this.#assertTrusted(file);
    }
    if (!/^\.[cm]?[jt]sx?$/.test(extname(file))) return this.#assertTrusted(file);
    for (const [, , specifier = ''] of this.readSource(file).matchAll(IMPORT)) {
      const imported = resolveImport(specifier, file);
      if (imported !== undefined) this.checkTree(imported, file);
    }
  }

  #checkPackage(specifier: string, importer: string): void {
    const folder = findPackageFolder(specifier, importer);
    if (folder === undefined || this.#seen.has(folder)) return;
    this.#seen.add(folder);
    this.#assertTrusted(join(folder, 'package.json'));
  }
}
