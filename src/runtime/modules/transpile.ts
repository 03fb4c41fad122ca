import { createRequire } from 'node:module';
import type * as TypeScript from 'typescript-6';
import type { CompilerOptions } from './typescript-project.js';

/** A file that TypeScript turns into JavaScript. */
export interface TypeScriptFile {
  readonly file: string;
  readonly text: string;
  readonly options: CompilerOptions;
  /** The tsconfig.json of the options, for messages. Undefined if there is none. */
  readonly project: string | undefined;
}

/** JavaScript, and the source map that leads from it to the TypeScript. */
export interface Transpiled {
  readonly code: string;
  readonly map: object;
}

/**
 * Says whether TypeScript must compile a file: `never`, `always`, or a function of the options. jiti compiles faster, but
 * has one meaning of decorators and of fields, and no JSX.
 */
type Need = 'never' | 'always' | ((options: CompilerOptions) => boolean);

const TYPESCRIPT = /\.(?:[cm]?ts|tsx)$/;
const JSX = /x$/;
/** Matches a decorator. A line that begins as a comment does is left out, because `@param` and the like are in comments. */
const DECORATOR = /^(?!\s*(?:\*|\/[/*])).*?(?<![\w$.'"`@/])@[A-Za-z_$(]/m;
const ACCESSOR = /\baccessor\s+[\w$#['"]/;
const CLASS = /\bclass\b/;
const IMPORT_CLAUSE = /\bimport\s+(?!type\b)([\w$*{][^'";]*?)\s*\bfrom\b/g;
/** Forms of import and export that only CommonJS has. */
const COMMONJS_SYNTAX = /^\s*(?:export\s*=|(?:export\s+)?import\s+[\w$]+\s*=\s*require\b)/m;

const require = createRequire(import.meta.url);

/**
 * The file of TypeScript beside the program, which the build writes: it has more code than the program, and most files do
 * not need it.
 */
declare const TYPESCRIPT_FILE: string | undefined;

/** Says whether the meaning of a file depends on options of TypeScript, or needs what jiti can't compile. */
export function needsTypeScript(text: string, file: string): Need {
  if (JSX.test(file)) return 'always';
  if (!TYPESCRIPT.test(file)) return 'never';
  if (DECORATOR.test(text) || ACCESSOR.test(text)) return 'always';
  const [hasClass, hasUnused] = [CLASS.test(text), hasUnusedImport(text)];
  if (!hasClass && !hasUnused) return 'never';
  return (options) =>
    (hasClass && !definesFields(options)) || (hasUnused && options.verbatimModuleSyntax === true);
}

/**
 * Turns TypeScript or JSX into an ES module that Node.js 20 understands, as the options say. Throws an `Error` whose message
 * has the form that `compile` describes, for a syntax error, and for JSX if the options do not say how to compile it.
 */
export function transpile({ file, text, options, project }: TypeScriptFile): Transpiled {
  const ts = loadTypeScript();
  const { ModuleKind, ScriptTarget } = ts;
  let firstJsx: number | undefined;
  const { outputText, sourceMapText, diagnostics } = ts.transpileModule(text, {
    fileName: file,
    reportDiagnostics: true,
    compilerOptions: {
      ...readOptions(ts, options),
      module: COMMONJS_SYNTAX.test(text) ? ModuleKind.CommonJS : ModuleKind.ESNext,
      target: ScriptTarget.ES2022,
      useDefineForClassFields: definesFields(options),
      sourceMap: true,
      inlineSources: true,
      allowJs: true,
      esModuleInterop: true,
      noEmitHelpers: false,
    },
    transformers: {
      before: [(context) => (source) => findJsx(ts, context, source, (found) => (firstJsx ??= found))],
    },
  });
  const mistake = diagnostics?.find(
    ({ start, category }) => start !== undefined && category === ts.DiagnosticCategory.Error,
  );
  if (mistake?.start !== undefined) {
    const message = ts.flattenDiagnosticMessageText(mistake.messageText, ' ');
    throw createParseError(message, { file, text, offset: mistake.start });
  }
  if (firstJsx !== undefined && options.jsx === undefined) {
    const where = project === undefined ? 'no tsconfig.json sets it' : `${project} does not set it`;
    const message = `JSX needs the compiler option "jsx", and ${where}; "jsx": "react-jsx" is the usual value`;
    throw createParseError(message, { file, text, offset: firstJsx });
  }
  return {
    code: outputText.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n'),
    map: JSON.parse(sourceMapText ?? '{}') as object,
  };
}

/**
 * Says whether a field of a class is defined, or is set by an assignment. The default of TypeScript depends on the target.
 * Without a target, the newest one counts.
 */
function definesFields({ useDefineForClassFields, target }: CompilerOptions): boolean {
  return useDefineForClassFields ?? !/^es(?:3|5|6|20(?:1\d|2[01]))$/i.test(target ?? 'esnext');
}

/** Converts the options from their names in a tsconfig.json. */
function readOptions(ts: typeof TypeScript, options: CompilerOptions): TypeScript.CompilerOptions {
  const { target: _target, jsx, ...others } = options;
  const { options: converted } = ts.convertCompilerOptionsFromJson({ ...others, jsx: readJsx(jsx) }, '/');
  return converted;
}

/** Another tool compiles JSX that TypeScript preserves. Here, no other tool follows. */
function readJsx(jsx: CompilerOptions['jsx']): CompilerOptions['jsx'] {
  return jsx === 'preserve' || jsx === 'react-native' ? 'react-jsx' : (jsx ?? 'react-jsx');
}

/** Passes on the offsets of the JSX of a file. */
function findJsx(
  ts: typeof TypeScript,
  context: TypeScript.TransformationContext,
  source: TypeScript.SourceFile,
  pass: (offset: number) => void,
): TypeScript.SourceFile {
  const visit = (node: TypeScript.Node): TypeScript.Node => {
    if (ts.isJsxElement(node) || ts.isJsxSelfClosingElement(node) || ts.isJsxFragment(node)) {
      pass(node.getStart(source));
      return node;
    }
    return ts.visitEachChild(node, visit, context);
  };
  return ts.visitNode(source, visit) as TypeScript.SourceFile;
}

/** Says whether a file may import a name that it does not use. Names in comments and texts count as used. */
function hasUnusedImport(text: string): boolean {
  for (const [, clause = ''] of text.matchAll(IMPORT_CLAUSE)) {
    for (const part of clause.split(/[,{}]/)) {
      const name = /([\w$]+)\s*$/.exec(part)?.[1];
      if (name !== undefined && countWord(text, name) < 2) return true;
    }
  }
  return false;
}

function countWord(text: string, word: string): number {
  return text.split(new RegExp(`(?<![\\w$])${word.replaceAll('$', String.raw`\$`)}(?![\\w$])`)).length - 1;
}

/** Creates the error for a mistake at an offset. Babel's columns count from 0, so these do, too. */
function createParseError(
  message: string,
  { file, text, offset }: { readonly file: string; readonly text: string; readonly offset: number },
): Error {
  const before = text.slice(0, offset).split('\n');
  return new Error(`ParseError: ${message} \n ${file}:${before.length}:${before.at(-1)?.length ?? 0}`);
}

/** Loads TypeScript. */
function loadTypeScript(): typeof TypeScript {
  return require(
    typeof TYPESCRIPT_FILE === 'undefined' ? 'typescript-6' : TYPESCRIPT_FILE,
  ) as typeof TypeScript;
}
