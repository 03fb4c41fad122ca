import { createHash } from 'node:crypto';
import type { Node, Token } from 'acorn';
import type { Reference, Variable } from 'eslint-scope';
import type { Mark, Piece, Use } from './module-model.js';
import {
  findFirst,
  getRoot,
  getText,
  getVariable,
  isFunction,
  isWithin,
  listReferences,
  readPath,
  unwrap,
  type Syntax,
  type SyntaxNode,
} from './syntax.js';

/** Gives the bindings of a module their indexes. */
export interface BindingTable {
  /** Returns the index of a variable's binding. */
  indexOf(variable: Variable): number;
  /** Adds a binding for a module that is imported by a call in the middle of a text, and returns its index. */
  addImport(specifier: string): number;
}

/** The names of globals whose value differs from run to run. */
const OUTSIDE: ReadonlySet<string> = new Set(['Date', 'crypto', 'fetch', 'performance']);
/** Functions that import a module: those of CommonJS and of compiled code. */
const IMPORTERS: ReadonlySet<string> = new Set(['require', 'jitiImport']);
/** The functions that Babel, TypeScript and esbuild put around an import. */
export const INTEROP = /^_*(?:interopRequire|importDefault|importStar|toESM)/;
const VARIABLE_NAME = /^[A-Z][A-Z0-9_]+$/;

/** Describes parts of a module's text. */
export class PieceBuilder {
  readonly pieces: Piece[] = [];
  readonly #syntax: Syntax;
  readonly #bindings: BindingTable;
  /** The directory of the config. It is left out of hashes, because it can be another one on another machine. */
  readonly #root: string;
  /** The calls of `dag()`. What they define is no part of the code around them. */
  readonly #dags: readonly SyntaxNode[];

  constructor(syntax: Syntax, bindings: BindingTable, root: string) {
    this.#syntax = syntax;
    this.#bindings = bindings;
    this.#root = root;
    this.#dags = syntax.nodes.filter((node) => isDagCall(node, syntax));
  }

  /** Says whether a node is a call of `dag()`. */
  isDag(node: SyntaxNode): boolean {
    return this.#dags.includes(node);
  }

  /** Says whether a node is inside the definition of a Dag. */
  isInDag(node: SyntaxNode): boolean {
    return this.#dags.some((call) => call !== node && isWithin(node, call));
  }

  /** Says whether a part of the text calls `dag()`. */
  definesDag(node: SyntaxNode): boolean {
    return this.#dags.some((call) => isWithin(call, node));
  }

  /** Describes a part of the text, and returns the index of its piece. */
  add(node: SyntaxNode): number {
    const skipped = this.#dags.filter((call) => isWithin(call, node) && call !== node);
    const tokens = this.#listTokens(node, skipped);
    const uses: Use[] = [];
    const variables = new Set<string>();
    const marks = new Set<Mark>();
    const globals = new GlobalUses(this.#syntax, variables, marks);
    for (const reference of this.#listReferences(node, skipped)) {
      const { resolved } = reference;
      const identifier = reference.identifier as unknown as SyntaxNode;
      if (resolved === null) globals.add(identifier);
      else if (INTEROP.test(resolved.name)) continue;
      else if (!isWithin(resolved.scope.block as unknown as Node, node))
        uses.push(this.#createUse(reference));
    }
    for (const { specifier, path } of this.#listLateImports(node, skipped, marks))
      uses.push({ binding: this.#bindings.addImport(specifier), path });
    this.#markThis(node, marks);
    const words = tokens.map(getValue).filter((value) => VARIABLE_NAME.test(value));
    this.pieces.push({
      hash: hashTokens(tokens, this.#syntax.text, this.#root),
      uses: removeRepeats(uses),
      variables: [...variables],
      words: [...new Set(words)],
      marks: [...marks],
    });
    return this.pieces.length - 1;
  }

  #createUse({ identifier, resolved }: Reference): Use {
    const { path, end } = readPath(identifier as unknown as SyntaxNode, this.#syntax);
    const parent = this.#syntax.parents.get(end);
    const isChanged =
      (parent?.type === 'AssignmentExpression' && parent.left === end) || parent?.type === 'UpdateExpression';
    return { binding: this.#bindings.indexOf(resolved as Variable), path: isChanged ? [] : path };
  }

  #listTokens(node: SyntaxNode, skipped: readonly SyntaxNode[]): Token[] {
    const { tokens } = this.#syntax;
    const start = findFirst(tokens, (token) => token.start, node.start);
    const end = findFirst(tokens, (token) => token.start, node.end);
    const found = tokens.slice(start, end);
    return skipped.length === 0
      ? found
      : found.filter((token) => !skipped.some((each) => isWithin(token, each)));
  }

  #listReferences(node: SyntaxNode, skipped: readonly SyntaxNode[]): readonly Reference[] {
    return listReferences(this.#syntax, node).filter(
      ({ identifier }) => !skipped.some((each) => isWithin(identifier as unknown as Node, each)),
    );
  }

  /** Lists the imports inside a text: `import('./a.js')`, `require('./a.js')`. Marks imports of a computed name. */
  #listLateImports(
    node: SyntaxNode,
    skipped: readonly SyntaxNode[],
    marks: Set<Mark>,
  ): { specifier: string; path: readonly string[] }[] {
    const { nodes } = this.#syntax;
    const found: { specifier: string; path: readonly string[] }[] = [];
    for (
      let i = findFirst(nodes, (each) => each.start, node.start);
      (nodes[i]?.start ?? Infinity) < node.end;
      i++
    ) {
      const each = nodes[i] as SyntaxNode;
      const argument = getImported(each, this.#syntax);
      if (argument === undefined || skipped.some((call) => isWithin(each, call))) continue;
      const specifier = getText(argument);
      if (specifier === undefined) marks.add('import');
      else found.push({ specifier, path: [] });
    }
    return found;
  }

  /** Marks a function that depends on `this`. */
  #markThis(node: SyntaxNode, marks: Set<Mark>): void {
    const { nodes, parents } = this.#syntax;
    if (!isFunction(node)) return;
    for (
      let i = findFirst(nodes, (each) => each.start, node.start);
      (nodes[i]?.start ?? Infinity) < node.end;
      i++
    ) {
      const each = nodes[i] as SyntaxNode;
      if (each.type !== 'ThisExpression' && each.type !== 'Super') continue;
      const owner = findOwner(each, parents);
      if (owner === node) marks.add('receiver');
      // At the top level of a module, `this` is nothing of the user.
      else if (owner !== undefined && !isWithin(owner, node)) marks.add('this');
    }
  }
}

/** Finds the function, or the field of a class, whose `this` an expression is. */
function findOwner(node: SyntaxNode, parents: Syntax['parents']): SyntaxNode | undefined {
  const isOwner = (each: SyntaxNode): boolean =>
    each.type === 'PropertyDefinition' ||
    each.type === 'StaticBlock' ||
    (isFunction(each) && each.type !== 'ArrowFunctionExpression');
  let owner = parents.get(node);
  while (owner !== undefined && !isOwner(owner)) owner = parents.get(owner);
  return owner;
}

/** Collects the uses of globals in one text. */
class GlobalUses {
  readonly #syntax: Syntax;
  readonly #variables: Set<string>;
  readonly #marks: Set<Mark>;

  constructor(syntax: Syntax, variables: Set<string>, marks: Set<Mark>) {
    this.#syntax = syntax;
    this.#variables = variables;
    this.#marks = marks;
  }

  add(identifier: SyntaxNode): void {
    const { name } = identifier as { name?: string };
    if (name === 'process') this.#addProcess(identifier);
    else if (name === 'eval' && this.#syntax.parents.get(identifier)?.type === 'CallExpression')
      this.#marks.add('eval');
    else if (name === 'Math') {
      if (readPath(identifier, this.#syntax).path[0] === 'random') this.#marks.add('outside');
    } else if (name !== undefined && OUTSIDE.has(name)) this.#marks.add('outside');
  }

  /** Adds `process.env.NAME`, `process.env[…]`, and `const { NAME } = process.env`. */
  #addProcess(identifier: SyntaxNode): void {
    const { path, end } = readPath(identifier, this.#syntax);
    const [first, variable] = path;
    if (first === undefined) this.#marks.add('environment');
    if (first !== 'env') return;
    if (variable !== undefined) {
      this.#variables.add(variable);
      return;
    }
    const names = getPatternNames(this.#syntax.parents.get(end));
    if (names === undefined) this.#marks.add('environment');
    else for (const name of names) this.#variables.add(name);
  }
}

/** Returns the property names of `const { A, B: b = 1 } = …`. Returns undefined if not all of them are fixed. */
function getPatternNames(node: SyntaxNode | undefined): readonly string[] | undefined {
  if (node?.type !== 'VariableDeclarator' || node.id.type !== 'ObjectPattern') return undefined;
  const names: string[] = [];
  for (const property of node.id.properties) {
    if (property.type !== 'Property' || property.computed || property.key.type !== 'Identifier')
      return undefined;
    names.push(property.key.name);
  }
  return names;
}

/** Returns the argument of a call that imports a module: of `import()`, `require()` and compiled code. */
export function getImported(node: SyntaxNode, syntax: Syntax): SyntaxNode | undefined {
  if (node.type === 'ImportExpression') return node.source;
  if (node.type !== 'CallExpression' || node.callee.type !== 'Identifier') return undefined;
  const isImporter = IMPORTERS.has(node.callee.name) && getVariable(syntax, node.callee) === undefined;
  return isImporter ? node.arguments[0] : undefined;
}

/** Says whether a node is a call of `dag` of this package. */
function isDagCall(node: SyntaxNode, syntax: Syntax): boolean {
  if (node.type !== 'CallExpression') return false;
  const callee = unwrap(node.callee);
  const root = getRoot(callee);
  const variable = root && getVariable(syntax, root);
  if (variable === undefined || getLastName(callee) === undefined) return false;
  const definition = variable.defs[0] as unknown as { node: SyntaxNode; parent: SyntaxNode } | undefined;
  if (definition?.node.type === 'ImportSpecifier') {
    const { imported } = definition.node;
    return (
      isOurs(getText((definition.parent as { source?: SyntaxNode }).source)) &&
      (imported as { name?: string }).name === 'dag'
    );
  }
  if (getLastName(callee) !== 'dag') return false;
  if (definition?.node.type === 'ImportNamespaceSpecifier')
    return isOurs(getText((definition.parent as { source?: SyntaxNode }).source));
  const init = definition?.node.type === 'VariableDeclarator' ? definition.node.init : undefined;
  if (!init) return false;
  return syntax.nodes.some((each) => isWithin(each, init) && isOurs(getText(getImported(each, syntax))));
}

/** The name of this package, which the code of the user imports. */
export const OUR_NAME = '@oneshot/etl';

function isOurs(specifier: string | undefined): boolean {
  return specifier === OUR_NAME;
}

function getLastName(callee: SyntaxNode): string | undefined {
  if (callee.type === 'Identifier') return callee.name;
  return callee.type === 'MemberExpression' && callee.property.type === 'Identifier'
    ? callee.property.name
    : undefined;
}

/** Hashes tokens. Neither comments and blanks matter, nor the quotes of a string, nor a comma before a bracket. */
function hashTokens(tokens: readonly Token[], text: string, root: string): string {
  const hash = createHash('sha256');
  for (const [index, token] of tokens.entries()) {
    const label = token.type.label;
    if (label === ',' && /^[)\]}]$/.test(tokens[index + 1]?.type.label ?? '')) continue;
    const part =
      label === 'string'
        ? JSON.stringify(getValue(token).replaceAll(root, '<root>'))
        : text.slice(token.start, token.end);
    hash.update(part).update('\n');
  }
  return hash.digest('base64url').slice(0, 12);
}

/** Returns the value of a name or of a string. The types of the parser do not have it. */
function getValue(token: Token): string {
  const { value } = token as Token & { readonly value?: unknown };
  return typeof value === 'string' ? value : '';
}

function removeRepeats(uses: readonly Use[]): readonly Use[] {
  return [...new Map(uses.map((use) => [`${use.binding} ${use.path.join(' ')}`, use])).values()];
}
