import { createRequire } from 'node:module';
import type * as JitiModule from 'jiti';

/**
 * The text before compiled code in a script, on the same line as the first line of the code. The parameters are those
 * of CommonJS, two functions that jiti's code calls for imports, `importMeta`, which replaces `import.meta`, and
 * `etlAnchor`, which `ANCHOR` calls.
 */
export const WRAPPER =
  '(async function (exports, require, module, __filename, __dirname, jitiImport, jitiESMResolve, importMeta, etlAnchor) { ';

/** The text after compiled code in a script. It passes on a function that is in the scope of the module. */
export const ANCHOR = 'etlAnchor(() => undefined);';

const require = createRequire(import.meta.url);
const TYPESCRIPT = /\.[cm]?ts$/;

/**
 * Compiles a module to the body of the function that `WRAPPER` begins, with an inline source map. Throws an `Error` if
 * the module has a syntax error. The message has the form of jiti's: `ParseError: `, the message of Babel, and file,
 * line and column on a line of their own.
 */
export function compile(text: string, file: string): string {
  const code = loadJiti(file).transform({
    source: text,
    filename: file,
    ts: TYPESCRIPT.test(file),
    async: true,
    jsx: false,
    babel: { sourceMaps: 'inline', sourceFileName: file, plugins: [replaceImportMeta] },
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
export function loadJiti(file: string, virtualModules: Record<string, unknown> = {}): JitiModule.Jiti {
  const { createJiti } = require('jiti') as typeof JitiModule;
  return createJiti(file, {
    fsCache: false,
    interopDefault: true,
    tryNative: false,
    sourceMaps: true,
    virtualModules,
  });
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
