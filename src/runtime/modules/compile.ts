import { createRequire } from 'node:module';
import type * as JitiModule from 'jiti';

/**
 * What stands before compiled code in its script, on the same line: the parameters of CommonJS, and what jiti's code calls
 * to import. `importMeta` is ours.
 */
export const WRAPPER =
  '(async function (exports, require, module, __filename, __dirname, jitiImport, jitiESMResolve, importMeta) { ';

const require = createRequire(import.meta.url);
const TYPESCRIPT = /\.[cm]?ts$/;

/**
 * Compiles a module to the body of the function that `WRAPPER` begins, with an inline source map. Throws a ParseError as
 * jiti does: with the message of Babel, and with file, line and column on a line of their own.
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
  const failed = /^exports\.__JITI_ERROR__ = (.*)$/s.exec(code)?.[1];
  if (failed === undefined) return code;
  const { filename, line, column, message } = JSON.parse(failed) as Record<string, string>;
  throw new Error(`ParseError: ${message} \n ${filename}:${line}:${column}`);
}

/** jiti for `file`, without a cache of its own. Loading jiti takes a while: a start whose code is cached does without. */
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

/** A plugin of Babel for every `import.meta` that jiti leaves in the code, where V8 would not accept it. */
function replaceImportMeta({ types }: Babel): object {
  return {
    visitor: {
      MetaProperty(path: MetaProperty) {
        if (path.node.meta.name === 'import') path.replaceWith(types.identifier('importMeta'));
      },
    },
  };
}
