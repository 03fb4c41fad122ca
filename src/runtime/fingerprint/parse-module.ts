import { createHash } from 'node:crypto';
import { Bindings } from './binding-table.js';
import type { FunctionEntry, ModuleModel } from './module-model.js';
import { ModuleStatements } from './module-statements.js';
import { getImported } from './piece-builder.js';
import { getText, isClass, isFunction, parseSyntax, type Syntax, type SyntaxNode } from './syntax.js';

/** The longest text that is parsed, in characters. A longer module is one piece. */
const LONGEST = 4_000_000;

/**
 * Makes the model of a module from its text, as V8 runs it. `isModule` is false for CommonJS and for compiled code. `root`
 * is the directory of the config. A module whose syntax is not known has a model without bindings: it is one piece.
 */
export function parseModule(text: string, isModule: boolean, root: string): ModuleModel {
  const syntax = text.length > LONGEST ? undefined : parseSyntax(text, isModule);
  if (syntax === undefined) return createUnknownModel(text);
  const bindings = new Bindings(syntax, root);
  const whole = bindings.builder.add(syntax.program);
  const functions = listFunctions(syntax, bindings);
  const { exports, stars, hasUnknownExports, effects } = new ModuleStatements(syntax, bindings);
  bindings.finish();
  const { imports, lateImports } = listImports(syntax);
  const { pieces } = bindings.builder;
  const hash = pieces[whole]?.hash ?? '';
  return {
    pieces,
    bindings: bindings.list,
    exports,
    stars,
    hasUnknownExports,
    functions,
    effects,
    imports,
    lateImports,
    hash,
  };
}

/** Hashes the exact text of a function, to find the function in a model. */
export function hashFunctionText(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 16);
}

function createUnknownModel(text: string): ModuleModel {
  const empty = {
    pieces: [],
    bindings: [],
    exports: {},
    stars: [],
    functions: {},
    effects: [],
    imports: [],
    lateImports: [],
  };
  return { ...empty, hasUnknownExports: true, hash: hashFunctionText(text) };
}

/** Describes every function and every class of the module. */
function listFunctions(syntax: Syntax, { builder }: Bindings): Record<string, FunctionEntry[]> {
  const functions = Object.create(null) as Record<string, FunctionEntry[]>;
  for (const node of syntax.nodes) {
    if (!isFunction(node) && !isClass(node)) continue;
    const hash = hashFunctionText(getFunctionText(node, syntax));
    const { start, end } = node.loc as NonNullable<typeof node.loc>;
    const entry: FunctionEntry = {
      piece: builder.add(node),
      range: [start.line - 1, start.column, end.line - 1, end.column],
    };
    (functions[hash] ??= []).push(entry);
  }
  return functions;
}

/** Returns the text that `toString` of a function returns. For a method, it begins with the name of the method. */
function getFunctionText(node: SyntaxNode, { text, parents }: Syntax): string {
  const parent = parents.get(node);
  const isMethod =
    (parent?.type === 'MethodDefinition' ||
      (parent?.type === 'Property' && (parent.method || parent.kind !== 'init'))) &&
    parent.value === node;
  if (!isMethod) return text.slice(node.start, node.end);
  const whole = text.slice(parent.start, node.end);
  return parent.type === 'MethodDefinition' && parent.static ? whole.replace(/^static\s+/, '') : whole;
}

/** Lists the modules that are imported by a fixed name: when the module is loaded, and later by its functions. */
function listImports(syntax: Syntax): Pick<ModuleModel, 'imports' | 'lateImports'> {
  const imports = new Set<string>();
  const lateImports = new Set<string>();
  for (const node of syntax.nodes) {
    const isDeclaration = /^(?:Import|ExportNamed|ExportAll)Declaration$/.test(node.type);
    const source = isDeclaration
      ? (node as { source?: SyntaxNode | null }).source
      : getImported(node, syntax);
    const specifier = getText(source ?? undefined);
    if (specifier === undefined) continue;
    let outer: SyntaxNode | undefined = node;
    while (outer !== undefined && !isFunction(outer)) outer = syntax.parents.get(outer);
    (outer === undefined ? imports : lateImports).add(specifier);
  }
  return { imports: [...imports], lateImports: [...lateImports].filter((each) => !imports.has(each)) };
}
