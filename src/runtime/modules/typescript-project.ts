import { dirname, isAbsolute, resolve } from 'node:path';
import {
  createFilesMatcher,
  createPathsMatcher,
  findTsconfig,
  getTsconfig,
  parseTsconfig,
  type TsConfigJsonResolved,
  type TsConfigResult,
} from 'get-tsconfig';
import { EtlError } from '../../errors.js';

/** The options of a compiler that decide what the compiled code of one file does. */
export type CompilerOptions = Readonly<
  Pick<
    NonNullable<TsConfigJsonResolved['compilerOptions']>,
    | 'target'
    | 'jsx'
    | 'jsxFactory'
    | 'jsxFragmentFactory'
    | 'jsxImportSource'
    | 'experimentalDecorators'
    | 'emitDecoratorMetadata'
    | 'useDefineForClassFields'
    | 'verbatimModuleSyntax'
    | 'strict'
    | 'strictNullChecks'
  >
>;

/** The tsconfig.json that a file of the user belongs to. */
export interface TypeScriptProject {
  /** The absolute path of the tsconfig.json. */
  readonly file: string;
  readonly options: CompilerOptions;
  /** Says whether the project contains JavaScript, so that `paths` is for JavaScript, too. */
  readonly allowsJavaScript: boolean;
  /** Returns the absolute paths that `paths` maps a specifier to, and the path below `baseUrl`. The first file wins. */
  mapSpecifier(specifier: string): readonly string[];
  /** Says whether a pattern of `paths` matches a specifier. */
  hasPattern(specifier: string): boolean;
}

const OPTION_NAMES = [
  'target',
  'jsx',
  'jsxFactory',
  'jsxFragmentFactory',
  'jsxImportSource',
  'experimentalDecorators',
  'emitDecoratorMetadata',
  'useDefineForClassFields',
  'verbatimModuleSyntax',
  'strict',
  'strictNullChecks',
] as const;

/**
 * Finds the tsconfig.json of the user's files. The nearest one from the file upward counts, as for `tsc` and tsx, also if
 * its `include` does not name the file. If it does not name the file, but one of its `references` does, that one counts,
 * as in an editor. A project of JavaScript may have a jsconfig.json. Files in `node_modules` have none.
 */
export class TypeScriptProjects {
  readonly #assertTrusted: (file: string) => void;
  readonly #byDirectory = new Map<string, TsConfigResult | undefined>();
  readonly #byFile = new Map<string, TypeScriptProject>();
  /** The files that get-tsconfig has read from the disk. */
  readonly #reads = new Map<string, never>();

  /** `assertTrusted` throws if another user could have written the file. */
  constructor(assertTrusted: (file: string) => void) {
    this.#assertTrusted = assertTrusted;
  }

  /**
   * Finds the project of a file. Throws `EtlError` ETL-2102 if another user could have written its tsconfig.json, and
   * ETL-2103 if the tsconfig.json, or one that it extends, can't be read.
   */
  find(file: string): TypeScriptProject | undefined {
    if (/[\\/]node_modules[\\/]/.test(file)) return undefined;
    const nearest = this.#findNearest(dirname(file));
    if (nearest === undefined) return undefined;
    const owner = this.#findOwner(nearest, file, new Set()) ?? nearest;
    const known = this.#byFile.get(owner.path) ?? createProject(owner);
    this.#byFile.set(owner.path, known);
    return known;
  }

  #findNearest(directory: string): TsConfigResult | undefined {
    const known = this.#byDirectory.get(directory);
    if (known !== undefined || this.#byDirectory.has(directory)) return known;
    const found = this.#read(directory, () => this.#search(directory));
    this.#byDirectory.set(directory, found);
    return found;
  }

  /** Returns undefined also for a tsconfig.json that this user may not read, for example of a directory far above. */
  #search(directory: string): TsConfigResult | undefined {
    try {
      const found =
        getTsconfig(directory, 'tsconfig.json', this.#reads) ??
        getTsconfig(directory, 'jsconfig.json', this.#reads);
      return found ?? undefined;
    } catch (error) {
      if (/^E(?:ACCES|PERM)$/.test(String((error as NodeJS.ErrnoException).code))) return undefined;
      throw error;
    }
  }

  /** Finds the first of the `references` that contains the file, unless the project contains the file itself. */
  #findOwner(project: TsConfigResult, file: string, seen: Set<string>): TsConfigResult | undefined {
    const { references = [] } = project.config;
    if (references.length === 0 || seen.has(project.path)) return undefined;
    seen.add(project.path);
    if (createFilesMatcher(project)(file) !== undefined) return project;
    for (const { path } of references) {
      const referenced = this.#readReference(resolve(dirname(project.path), path));
      const isOwner = createFilesMatcher(referenced)(file) !== undefined;
      const owner = isOwner ? referenced : this.#findOwner(referenced, file, seen);
      if (owner !== undefined) return owner;
    }
    return undefined;
  }

  #readReference(path: string): TsConfigResult {
    const file = path.endsWith('.json') ? path : resolve(path, 'tsconfig.json');
    return this.#read(file, () => ({ path: file, config: parseTsconfig(file, this.#reads) }));
  }

  /** Reads a project, and checks all files that were read for it. `path` is the place that a message names. */
  #read<T>(path: string, read: () => T): T {
    const before = this.#reads.size;
    try {
      return read();
    } catch (cause) {
      throw new EtlError('ETL-2103', {
        what: `the tsconfig.json of the config could not be read`,
        where: findTsconfig(path) ?? path,
        why: cause instanceof Error ? cause.message : String(cause),
        fix: 'correct the file, or the path in its `extends` or `references`',
        cause,
      });
    } finally {
      this.#checkReads(before);
    }
  }

  /** Checks the files that were read after the first `from` entries of the cache. Its keys begin with the function. */
  #checkReads(from: number): void {
    for (const key of [...this.#reads.keys()].slice(from)) {
      const [, path = ''] = /^readFileSync:(.*):utf8$/.exec(key) ?? [];
      if (isAbsolute(path)) this.#assertTrusted(path);
    }
  }
}

function createProject(found: TsConfigResult): TypeScriptProject {
  const { compilerOptions = {} } = found.config;
  const match = createPathsMatcher(found);
  const patterns = Object.keys(compilerOptions.paths ?? {}).map((pattern) => pattern.split('*'));
  return {
    file: found.path,
    options: Object.fromEntries(
      OPTION_NAMES.flatMap((name) => (name in compilerOptions ? [[name, compilerOptions[name]]] : [])),
    ),
    allowsJavaScript:
      compilerOptions.allowJs === true ||
      compilerOptions.checkJs === true ||
      found.path.endsWith('jsconfig.json'),
    mapSpecifier: (specifier) => match?.(specifier) ?? [],
    hasPattern: (specifier) =>
      patterns.some(([start = '', end]) =>
        end === undefined
          ? specifier === start
          : specifier.length >= start.length + end.length &&
            specifier.startsWith(start) &&
            specifier.endsWith(end),
      ),
  };
}
