import type * as acorn from 'acorn';
import type { AnyNode, Node, Program, Token } from 'acorn';
import type * as eslintScope from 'eslint-scope';
import type { Reference, Scope, ScopeManager, Variable } from 'eslint-scope';
import { createRequire } from 'node:module';

/** A node of the syntax tree. */
export type SyntaxNode = AnyNode;

/** The text of a module with its syntax tree and its scopes. */
export interface Syntax {
  readonly text: string;
  readonly program: Program;
  /** The tokens in order, without comments. */
  readonly tokens: readonly Token[];
  readonly parents: ReadonlyMap<Node, SyntaxNode>;
  /** All nodes in the order of their beginning; a node comes before the nodes in it. */
  readonly nodes: readonly SyntaxNode[];
  /** All uses of a name, in order. */
  readonly references: readonly Reference[];
  /** The scope of the names that the module declares at its top level. */
  readonly topScope: Scope;
}

/**
 * Parses the text of a module as V8 runs it. `isModule` is false for CommonJS, and for code that was compiled to the
 * body of an async function. Loads the parser at the first call. Returns undefined if the parser does not know the
 * syntax.
 */
export function parseSyntax(text: string, isModule: boolean): Syntax | undefined {
  const { parse, analyze } = loadParser();
  const tokens: Token[] = [];
  let program: Program;
  try {
    program = parse(text, {
      ecmaVersion: 'latest',
      sourceType: isModule ? 'module' : 'script',
      allowAwaitOutsideFunction: true,
      allowReturnOutsideFunction: true,
      allowHashBang: true,
      ranges: true,
      locations: true,
      onToken: tokens,
    });
  } catch {
    return undefined;
  }
  const scopes = analyze(program as unknown as Parameters<typeof analyze>[0], {
    ecmaVersion: 2025,
    sourceType: isModule ? 'module' : 'commonjs',
    // A use of `eval` is found by its name. Without this option, it would make every name around it unknown.
    ignoreEval: true,
  });
  const { nodes, parents } = listNodes(program);
  return {
    text,
    program,
    tokens,
    nodes,
    parents,
    references: sortReferences(scopes),
    topScope: scopes.globalScope?.childScopes[0] as Scope,
  };
}

/** Returns the index of the first element whose position is at least `position`, by binary search. */
export function findFirst<T>(
  list: readonly T[],
  getPosition: (element: T) => number,
  position: number,
): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (getPosition(list[middle] as T) < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Says whether `inner` is a part of `outer`. */
export function isWithin(
  inner: { readonly start: number; readonly end: number },
  outer: { readonly start: number; readonly end: number },
): boolean {
  return inner.start >= outer.start && inner.end <= outer.end;
}

/** Says whether a node is a function, an arrow function or a method. */
export function isFunction(node: SyntaxNode | undefined): boolean {
  return node !== undefined && /^(?:Function|ArrowFunction)/.test(node.type);
}

/** Says whether a node is a class. */
export function isClass(node: SyntaxNode | undefined): boolean {
  return node?.type === 'ClassDeclaration' || node?.type === 'ClassExpression';
}

/** Returns the names of the properties that are read from an expression, by fixed names: `a.b['c']` -> `b`, `c`. */
export function readPath(node: SyntaxNode, { parents }: Syntax): { path: string[]; end: SyntaxNode } {
  const path: string[] = [];
  let end = node;
  for (;;) {
    const parent = parents.get(end);
    if (parent?.type === 'ChainExpression') {
      end = parent;
      continue;
    }
    if (parent?.type !== 'MemberExpression' || parent.object !== end) return { path, end };
    const name = getPropertyName(parent.property, parent.computed);
    if (name === undefined) return { path, end };
    path.push(name);
    end = parent;
  }
}

/** Returns the name of a property if it is fixed. */
export function getPropertyName(node: SyntaxNode, isComputed: boolean): string | undefined {
  if (node.type === 'Identifier' && !isComputed) return node.name;
  return node.type === 'Literal' && typeof node.value === 'string' ? node.value : undefined;
}

/** Returns the text of a string literal or a template without expressions. */
export function getText(node: SyntaxNode | undefined): string | undefined {
  if (node?.type === 'Literal' && typeof node.value === 'string') return node.value;
  if (node?.type === 'TemplateLiteral' && node.expressions.length === 0)
    return node.quasis[0]?.value.cooked ?? undefined;
  return undefined;
}

/** Removes what does not change the value of an expression: brackets, `await`, and the `0` of `(0, a.b)(…)`. */
export function unwrap(node: SyntaxNode): SyntaxNode {
  if (
    node.type === 'SequenceExpression' &&
    node.expressions.length === 2 &&
    node.expressions[0]?.type === 'Literal'
  )
    return unwrap(node.expressions[1] as SyntaxNode);
  if (node.type === 'AwaitExpression') return unwrap(node.argument);
  if (node.type === 'ParenthesizedExpression' || node.type === 'ChainExpression')
    return unwrap(node.expression);
  return node;
}

/** Returns the identifier at the begin of `a`, `a.b` or `a.b()`. */
export function getRoot(node: SyntaxNode): (SyntaxNode & { type: 'Identifier' }) | undefined {
  const inner = unwrap(node);
  if (inner.type === 'Identifier') return inner;
  if (inner.type === 'MemberExpression') return getRoot(inner.object);
  if (inner.type === 'CallExpression') return getRoot(inner.callee);
  return undefined;
}

/** Returns the variable that a reference means, or undefined for a global. */
export function getVariable({ references }: Syntax, identifier: Node): Variable | undefined {
  const index = findFirst(references, getStart, identifier.start);
  const found = references[index];
  return found !== undefined && getStart(found) === identifier.start
    ? (found.resolved ?? undefined)
    : undefined;
}

/** Lists the uses of names in a part of the text. */
export function listReferences({ references }: Syntax, { start, end }: SyntaxNode): readonly Reference[] {
  return references.slice(findFirst(references, getStart, start), findFirst(references, getStart, end));
}

/** Returns the position of a reference in the text. */
export function getStart({ identifier }: Reference): number {
  return (identifier as unknown as Node).start;
}

function sortReferences({ scopes }: ScopeManager): Reference[] {
  return scopes.flatMap(({ references }) => references).toSorted((a, b) => getStart(a) - getStart(b));
}

/** Walks through the tree without recursion, because a tree can be very deep. */
function listNodes(program: Program): { nodes: SyntaxNode[]; parents: Map<Node, SyntaxNode> } {
  const parents = new Map<Node, SyntaxNode>();
  const nodes: SyntaxNode[] = [];
  const rest: SyntaxNode[] = [program];
  for (let node = rest.pop(); node !== undefined; node = rest.pop()) {
    nodes.push(node);
    for (const value of Object.values(node) as readonly unknown[]) {
      for (const child of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
        if (!isNode(child)) continue;
        parents.set(child, node);
        rest.push(child);
      }
    }
  }
  // Of two nodes with the same beginning, the outer node ends later.
  return { nodes: nodes.toSorted((a, b) => a.start - b.start || b.end - a.end), parents };
}

function isNode(value: unknown): value is SyntaxNode {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    'start' in value &&
    typeof value.type === 'string'
  );
}

/** The parts of `acorn` and `eslint-scope` that are used here. */
type Parser = Pick<typeof acorn, 'parse'> & Pick<typeof eslintScope, 'analyze'>;

/**
 * The file of the parser beside the program, which the build writes: only a module that was never seen before is parsed, and
 * a larger program makes every start slower.
 */
declare const PARSER_FILE: string | undefined;

/** Loads the parser at the first call. */
function loadParser(): Parser {
  const load = createRequire(import.meta.url);
  if (typeof PARSER_FILE !== 'undefined') return load(PARSER_FILE) as Parser;
  return { ...(load('acorn') as typeof acorn), ...(load('eslint-scope') as typeof eslintScope) };
}
