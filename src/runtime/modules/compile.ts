import { createRequire } from 'node:module';
import type { ImportSpecifier } from 'es-module-lexer/minimal';
import type * as JitiModule from 'jiti';

/** What the code calls to import: a letter that is hardly ever a name. */
const LINK = 'ƒ';

const require = createRequire(import.meta.url);
const CODE = /\.[cm]?[jt]s$/;
const TYPESCRIPT = /\.[cm]?ts$/;
const MODULE_SYNTAX = /^\s*(?:import|export)\b/m;
/** Sucrase drops namespaces as if they were types, and its `require` could not be told from the user's. */
const BEYOND_FAST = /\brequire\s*\(|\b(?:namespace|module)\s+[\w$.]+\s*\{|\bmeta\s*\.\s*env\b/;

/**
 * Compiles a module in a tenth of the time of `transformFully`, and does not say what is wrong with it: undefined where
 * it can't, or might do something else than Babel does.
 *
 * Sucrase makes CommonJS of it, and keeps lines; its source maps lose the columns after a template that begins with an
 * expression, so the text itself goes along instead. Its `require('a')`, all at the top level, becomes `await ƒ('a')`;
 * `import(a)` and `import.meta` become `ƒ.load(a)` and `ƒ.meta`.
 */
export async function transformFast(text: string, file: string): Promise<string | undefined> {
  if (!CODE.test(file) || BEYOND_FAST.test(text) || text.includes(LINK)) return undefined;
  const [{ transform }, { parse }] = await Promise.all([
    import('sucrase'),
    import('es-module-lexer/minimal/js'),
  ]);
  try {
    const { code } = transform(text, {
      transforms: [
        ...(TYPESCRIPT.test(file) ? (['typescript'] as const) : []),
        ...(MODULE_SYNTAX.test(text) ? (['imports'] as const) : []),
      ],
      disableESTransforms: true,
      preserveDynamicImport: true,
      production: true,
    });
    const linked = parse(code)[0]
      .reduceRight(withLink, code)
      .replace(/\brequire\('/g, `await ${LINK}('`);
    return `${linked}\n${formatSourceComment(text)}`;
  } catch {
    return undefined; // Whoever compiles it fully says what is wrong, and where.
  }
}

/** Throws a ParseError as jiti does: with the message of Babel, and file, line and column on a line of its own. */
export function transformFully(text: string, file: string): string {
  const code = loadJiti(file).transform({
    source: text,
    filename: file,
    ts: TYPESCRIPT.test(file),
    async: true,
    jsx: false,
  });
  const failed = /^exports\.__JITI_ERROR__ = (.*)$/s.exec(code)?.[1];
  if (failed === undefined) return code;
  const { filename, line, column, message } = JSON.parse(failed) as Record<string, string>;
  throw new Error(`ParseError: ${message} \n ${filename}:${line}:${column}`);
}

/** jiti for `file`, without a cache of its own. Loading it takes a while: for what nothing else can do. */
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

function withLink(code: string, { t, ss, se }: ImportSpecifier): string {
  if (t === DYNAMIC) return spliceText(code, { start: ss, end: ss + 'import'.length, text: `${LINK}.load` });
  if (t === META) return spliceText(code, { start: ss, end: se, text: `${LINK}.meta` });
  throw new SyntaxError('an import that Sucrase has left');
}

/** How the lexer numbers the kinds of imports. */
const DYNAMIC = 2;
const META = 3;

function spliceText(
  code: string,
  { start, end, text }: { start: number; end: number; text: string },
): string {
  return code.slice(0, start) + text.padEnd(end - start) + code.slice(end);
}

/** A source map without mappings. */
function formatSourceComment(text: string): string {
  const map = { version: 3, sources: [], names: [], mappings: '', sourcesContent: [text] };
  const encoded = Buffer.from(JSON.stringify(map)).toString('base64');
  return `//# sourceMappingURL=data:application/json;charset=utf-8;base64,${encoded}`;
}
