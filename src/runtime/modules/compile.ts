import { createRequire } from 'node:module';
import type * as JitiModule from 'jiti';
import type { CompilerOptions, TypeScriptProject } from './typescript-project.js';
import { needsTypeScript, transpile } from './transpile.js';

/**
 * The text before compiled code in a script, on the same line as the first line of the code. The parameters are those
 * of CommonJS, two functions that jiti's code calls for imports, `importMeta`, which replaces `import.meta`, and
 * `etlAnchor`, which `ANCHOR` calls.
 */
export const WRAPPER =
  '(async function (exports, require, module, __filename, __dirname, jitiImport, jitiESMResolve, importMeta, etlAnchor) { ';

/** The same for code that `require` loads, which can't wait. It has the same length, so positions stay the same. */
export const SYNC_WRAPPER = WRAPPER.replace('(async ', '(      ');

/** The text after compiled code in a script. It passes on a function that is in the scope of the module. */
export const ANCHOR = 'etlAnchor(() => undefined);';

/** A file that is going to be compiled. */
export interface SourceFile {
  readonly file: string;
  readonly text: string;
  /** True for a file that `require` loads: its imports become calls of `require`. */
  readonly isSync: boolean;
}

/** The way in which a file is compiled. Everything in it is part of the key of the cache. */
export interface CompileMode {
  readonly isSync: boolean;
  /** The options of TypeScript. Undefined if jiti alone compiles the file, because no option changes its meaning. */
  readonly options: CompilerOptions | undefined;
  /** The tsconfig.json of the options, for messages. */
  readonly project: string | undefined;
}

const require = createRequire(import.meta.url);
const TYPESCRIPT = /\.[cm]?ts$/;

/** Decides how to compile a file. `findProject` is called only if the options of a tsconfig.json may matter. */
export function chooseMode(
  { file, text, isSync }: SourceFile,
  findProject: () => TypeScriptProject | undefined,
): CompileMode {
  const need = needsTypeScript(text, file);
  if (need === 'never') return { isSync, options: undefined, project: undefined };
  const project = findProject();
  const options = project?.options ?? {};
  const isNeeded = need === 'always' || need(options);
  return { isSync, options: isNeeded ? options : undefined, project: project?.file };
}

/**
 * Compiles a module to the body of the function that `WRAPPER` or `SYNC_WRAPPER` begins, with an inline source map. Throws
 * an `Error` if the module has a syntax error. The message has the form of jiti's: `ParseError: `, the message of the
 * parser, and file, line and column on a line of their own.
 */
export function compile({ file, text }: SourceFile, { isSync, options, project }: CompileMode): string {
  const transpiled = options && transpile({ file, text, options, project });
  const code = loadJiti(file).transform({
    source: transpiled?.code ?? text,
    filename: file,
    ts: transpiled === undefined && TYPESCRIPT.test(file),
    async: !isSync,
    jsx: false,
    babel: {
      sourceMaps: 'inline',
      sourceFileName: file,
      plugins: [replaceImportMeta],
      ...(transpiled && { inputSourceMap: transpiled.map }),
    },
  });
  // jiti does not throw a syntax error, but returns code that stores the error in `exports`.
  const failed = /^exports\.__JITI_ERROR__ = (.*)$/s.exec(code)?.[1];
  if (failed === undefined) return code;
  const { filename, line, column, message } = JSON.parse(failed) as Record<string, string>;
  throw new Error(`ParseError: ${message} \n ${filename}:${line}:${column}`);
}

/**
 * Loads jiti for `file`, without jiti's own cache. Loading jiti takes a while, so a start whose code is cached does not
 * call this function.
 */
function loadJiti(file: string): JitiModule.Jiti {
  const { createJiti } = require('jiti') as typeof JitiModule;
  return createJiti(file, { fsCache: false, interopDefault: true, tryNative: false, sourceMaps: true });
}

/** The part of Babel that the plugin below uses. */
interface Babel {
  readonly types: { identifier(name: string): unknown };
}

interface MetaProperty {
  readonly node: { readonly meta: { readonly name: string } };
  replaceWith(node: unknown): void;
}

/** Makes a Babel plugin that replaces every `import.meta` that jiti leaves in the code. V8 refuses it in a script. */
function replaceImportMeta({ types }: Babel): object {
  return {
    visitor: {
      MetaProperty(path: MetaProperty) {
        if (path.node.meta.name === 'import') path.replaceWith(types.identifier('importMeta'));
      },
    },
  };
}
