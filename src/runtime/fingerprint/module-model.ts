/** The name in `exports` for `module.exports` itself, if the module sets it. */
export const WHOLE = 'module.exports';

/**
 * The contents of a module of the user that fingerprints need. A model is plain JSON, so it can be cached. It
 * depends on the text of the module alone: names are not yet resolved to other modules.
 */
export interface ModuleModel {
  readonly pieces: readonly Piece[];
  readonly bindings: readonly Binding[];
  /** By the name of an export: what it stands for. */
  readonly exports: Readonly<Record<string, Use>>;
  /** The modules all of whose exports are exported again. */
  readonly stars: readonly Use[];
  /** True if the module exports in a way that is not understood here, so that it can have any export. */
  readonly hasUnknownExports: boolean;
  /** The functions and classes of the module, by the hash of their exact text. */
  readonly functions: Readonly<Record<string, readonly FunctionEntry[]>>;
  /**
   * The statements that run when the module is loaded and can change something that no binding shows: settings of a
   * library, a registry, a global. By index in `pieces`.
   */
  readonly effects: readonly number[];
  /** The modules that are imported when this module is loaded, as they are written. */
  readonly imports: readonly string[];
  /** The modules that functions import later by a fixed name. */
  readonly lateImports: readonly string[];
  /** The hash of the whole module. */
  readonly hash: string;
}

/** A part of a module's text, such as a function or the initial value of a constant. */
export interface Piece {
  /** The hash of the text without comments and blanks. */
  readonly hash: string;
  /** The names that the text uses and does not declare itself. */
  readonly uses: readonly Use[];
  /** The environment variables that the text reads by a fixed name. */
  readonly variables: readonly string[];
  /** The words of the text that look like the name of an environment variable. */
  readonly words: readonly string[];
  readonly marks: readonly Mark[];
}

/**
 * Something about a text that the names in it do not tell:
 *
 * - `eval`: it can run any code.
 * - `import`: it imports a module whose name is computed.
 * - `this`: it is an arrow function that uses the `this` of the function around it.
 * - `receiver`: it is a function with a `this` of its own.
 * - `environment`: it reads environment variables whose names are computed.
 * - `outside`: it reads the clock, random numbers or the network.
 */
export type Mark = 'eval' | 'import' | 'this' | 'receiver' | 'environment' | 'outside';

/** The use of a binding, and the names of the properties that are read from it: `RATES.eur` -> `['eur']`. */
export interface Use {
  /** The index in `bindings`. */
  readonly binding: number;
  readonly path: readonly string[];
}

/** A name that a module declares. */
export interface Binding {
  readonly name: string;
  /** The word for the declaration in messages. */
  readonly noun: 'function' | 'class' | 'constant' | 'variable' | 'argument';
  /** True if it is declared inside a function or block, so that it can have several values at once. */
  readonly isLocal: boolean;
  /**
   * - `import`: it stands for another module, or for an export of it.
   * - `code`: its text decides what it is: a function, a class, a literal.
   * - `value`: its text does not decide its value.
   */
  readonly kind: 'import' | 'code' | 'value';
  /** The value of a literal, as JSON. */
  readonly literal?: string;
  /** The texts of its declaration, by index in `pieces`. Empty for an argument. */
  readonly pieces: readonly number[];
  /** The texts that change it later. */
  readonly changes: readonly number[];
  /** The module of an import, and the names of the properties that are read from it. An ES import reads one. */
  readonly from?: { readonly specifier: string; readonly path: readonly string[] };
}

/** A function or a class in the text of a module. */
export interface FunctionEntry {
  /** The index in `pieces`. */
  readonly piece: number;
  /** The position of its begin and end. Lines and columns count from 0, as V8 counts them. */
  readonly range: readonly [startLine: number, startColumn: number, endLine: number, endColumn: number];
}
