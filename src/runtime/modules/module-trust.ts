import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { extname, join } from 'node:path';
import { learnFromSource } from '../secrets/learned-secrets.js';
import type { ModuleResolver, ResolvedModule } from './resolve.js';
import { decodeSource } from './source-text.js';

/** Matches an import or a `require` of a module: the word before the name (group 1), and the name (group 3). */
const IMPORT =
  /(\bfrom|\bimport|\bimport\s*\(|\brequire\s*\(|\bcreateRequire\s*\([^()]*\)\s*\()\s*(["'])([^"'\n]+)\2/g;
const CODE = /^\.[cm]?[jt]sx?$/;

/**
 * Makes sure that no other user could have written the modules of a config, before they are executed. Each file is checked
 * once. Of a package, its manifest and the file that is imported are checked, with their directories.
 */
export class ModuleTrust {
  readonly #assertTrusted: (file: string) => void;
  readonly #resolver: ModuleResolver;
  readonly #checked = new Set<string>();
  /** By file that Node.js can run: the modules that its text imports by name. */
  readonly #imports = new Map<string, readonly ResolvedModule[]>();

  /** `assertTrusted` throws if another user could have written the file. */
  constructor(assertTrusted: (file: string) => void, resolver: ModuleResolver) {
    this.#assertTrusted = assertTrusted;
    this.#resolver = resolver;
  }

  /** Reads a file of the user that is going to be compiled. Its secrets are known before its code can throw an error. */
  readSource(file: string): string {
    this.#check(file);
    const text = decodeSource(readFileSync(file), 'the module', file);
    learnFromSource(text);
    return text;
  }

  /**
   * Checks a module that Node.js is going to execute, and the modules that its text imports by name: nobody asks before
   * Node.js executes these. Returns true if Node.js can run them all. Returns false if one of them must be compiled, for
   * example if a JavaScript file imports TypeScript.
   */
  checkTree(resolved: ResolvedModule): boolean {
    const seen = new Set<string>();
    const waiting = [resolved];
    let canRun = true;
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      this.checkManifest(next);
      if (next.kind === 'compile' || next.isAlias === true) canRun = false;
      if (next.kind === 'compile' || next.file === undefined || seen.has(next.file)) continue;
      seen.add(next.file);
      if (!isBuiltin(next.file)) waiting.push(...this.#listImports(next.file));
    }
    return canRun;
  }

  /** Checks the package.json that has led to a module. */
  checkManifest({ manifest }: ResolvedModule): void {
    if (manifest !== undefined) this.#check(manifest);
  }

  /** Checks a file, and lists the modules that its text imports. A file of an installed package has none. */
  #listImports(file: string): readonly ResolvedModule[] {
    const known = this.#imports.get(file);
    if (known !== undefined) return known;
    const [, inPackage] = /^(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(file) ?? [];
    if (inPackage !== undefined) this.#check(join(inPackage, 'package.json'));
    const isOwnCode = inPackage === undefined && CODE.test(extname(file));
    if (!isOwnCode) this.#check(file);
    const imports = isOwnCode ? this.#findImports(this.readSource(file), file) : [];
    this.#imports.set(file, imports);
    return imports;
  }

  #findImports(text: string, file: string): ResolvedModule[] {
    return [...text.matchAll(IMPORT)].flatMap(([, word = '', , specifier = '']) => {
      const kind = /require/i.test(word) ? 'require' : 'import';
      return this.#resolver.resolve(specifier, file, kind) ?? [];
    });
  }

  #check(file: string): void {
    if (this.#checked.has(file)) return;
    this.#assertTrusted(file);
    this.#checked.add(file);
  }
}
