import type { Reference, Variable } from 'eslint-scope';
import type { Binding } from './module-model.js';
import { getImported, INTEROP, PieceBuilder, type BindingTable } from './piece-builder.js';
import {
  getPropertyName,
  getRoot,
  getText,
  getVariable,
  isClass,
  isFunction,
  isWithin,
  readPath,
  unwrap,
  type Syntax,
  type SyntaxNode,
} from './syntax.js';

type From = NonNullable<Binding['from']>;
type MutableBinding = { -readonly [K in keyof Binding]: Binding[K] } & {
  pieces: number[];
  changes: number[];
};

/** Describes the names that a module declares. A binding is made when something uses it. */
export class Bindings implements BindingTable {
  readonly list: MutableBinding[] = [];
  readonly builder: PieceBuilder;
  readonly #syntax: Syntax;
  readonly #indexes = new Map<Variable, number>();
  readonly #imports = new Map<string, number>();
  /** The bindings whose pieces are not yet described. */
  readonly #waiting: (() => void)[] = [];

  constructor(syntax: Syntax, root: string) {
    this.#syntax = syntax;
    this.builder = new PieceBuilder(syntax, this, root);
  }

  indexOf(variable: Variable): number {
    const known = this.#indexes.get(variable);
    if (known !== undefined) return known;
    const binding: MutableBinding = {
      name: variable.name,
      noun: getNoun(variable),
      isLocal: variable.scope !== this.#syntax.topScope,
      kind: 'value',
      pieces: [],
      changes: [],
    };
    const index = this.#push(binding);
    this.#indexes.set(variable, index);
    // Its pieces use other bindings, perhaps in a circle, so they are described later.
    this.#waiting.push(() => this.#describe(variable, binding));
    return index;
  }

  addImport(specifier: string, path: readonly string[] = []): number {
    const key = JSON.stringify([specifier, path]);
    const known = this.#imports.get(key);
    if (known !== undefined) return known;
    const index = this.#push(createImport(specifier, { specifier, path }));
    this.#imports.set(key, index);
    return index;
  }

  /** Adds a binding for a default export without a name, or for `module.exports`. */
  addUnnamed(name: string, node: SyntaxNode): number {
    const kind = isCode(node, this.#syntax) ? 'code' : 'value';
    const noun = isFunction(node) ? 'function' : isClass(node) ? 'class' : 'constant';
    const binding: MutableBinding = { name, noun, isLocal: false, kind, pieces: [], changes: [] };
    this.#waiting.push(() => binding.pieces.push(this.builder.add(node)));
    return this.#push(binding);
  }

  /** Says whether a variable stands for a module or for an export of a module. */
  isImport(variable: Variable): boolean {
    return readImport(variable, this.#syntax) !== undefined;
  }

  /** Adds a statement that changes the value of a variable. */
  addChange(variable: Variable, statement: SyntaxNode): void {
    const binding = this.list[this.indexOf(variable)];
    this.#waiting.push(() => binding?.changes.push(this.builder.add(statement)));
  }

  /** Describes all bindings that were asked for, and those that their texts use. */
  finish(): void {
    for (let work = this.#waiting.pop(); work !== undefined; work = this.#waiting.pop()) work();
  }

  #push(binding: MutableBinding): number {
    this.list.push(binding);
    return this.list.length - 1;
  }

  /** Finds out what a variable is, and describes the texts that decide it. */
  #describe(variable: Variable, binding: MutableBinding): void {
    const definition = variable.defs[0];
    const node = definition?.node as unknown as SyntaxNode | undefined;
    // The value of an argument is known only when the function is called.
    if (node === undefined || !DECLARED.has(definition?.type)) return;
    const writes = variable.references.filter((reference) => reference.isWrite() && !reference.init);
    for (const write of writes) this.#addWriter(write, binding);
    const isFixed = writes.length === 0 && variable.defs.length === 1;
    const from = isFixed ? readImport(variable, this.#syntax) : undefined;
    if (from === undefined) this.#describeText(node, binding, isFixed);
    else {
      binding.kind = 'import';
      binding.from = from;
    }
  }

  /** Describes the text of a declaration. `isFixed` is false if something else sets the variable, too. */
  #describeText(node: SyntaxNode, binding: MutableBinding, isFixed: boolean): void {
    const isDeclarator = node.type === 'VariableDeclarator';
    const text = isDeclarator ? getInitializer(node, this.#syntax) : node;
    if (text === undefined) return;
    binding.pieces.push(this.builder.add(text));
    // A variable of a loop or a pattern is only a part of the text.
    const isWhole = !isDeclarator || (Boolean(node.init) && node.id.type === 'Identifier');
    if (!isFixed || !isWhole || !isCode(text, this.#syntax)) return;
    binding.kind = 'code';
    const literal = readLiteral(text);
    if (literal !== undefined) binding.literal = literal;
  }

  /** Adds the function in which a variable is set. Statements outside of functions show in its value. */
  #addWriter({ identifier }: Reference, binding: MutableBinding): void {
    let writer: SyntaxNode | undefined = identifier as unknown as SyntaxNode;
    while (writer !== undefined && !isFunction(writer)) writer = this.#syntax.parents.get(writer);
    if (writer !== undefined) binding.changes.push(this.builder.add(writer));
  }
}

/** The kinds of definitions whose text says something about the value. */
const DECLARED: ReadonlySet<string | undefined> = new Set([
  'FunctionName',
  'ClassName',
  'Variable',
  'ImportBinding',
]);

/** Creates a binding for a module that is imported without a name of its own. */
function createImport(name: string, from: From): MutableBinding {
  return { name, noun: 'constant', isLocal: false, kind: 'import', pieces: [], changes: [], from };
}

function getNoun({ defs: [definition] }: Variable): Binding['noun'] {
  const { type, node, parent } = (definition ?? {}) as unknown as {
    type?: string;
    node?: SyntaxNode;
    parent?: SyntaxNode;
  };
  if (type === 'Parameter') return 'argument';
  if (type === 'FunctionName') return 'function';
  if (type === 'ClassName') return 'class';
  const init = node?.type === 'VariableDeclarator' && node.init ? unwrap(node.init) : undefined;
  if (isFunction(init)) return 'function';
  if (isClass(init)) return 'class';
  return parent?.type === 'VariableDeclaration' && parent.kind !== 'const' ? 'variable' : 'constant';
}

/**
 * Returns the expression that a variable gets its value from. For a variable of `for (const x of list)`, this is `list`.
 * Compiled code sets exports on the way: `const a = exports.a = 1`.
 */
function getInitializer(
  declarator: SyntaxNode & { type: 'VariableDeclarator' },
  { parents }: Syntax,
): SyntaxNode | undefined {
  if (declarator.init) return skipExports(declarator.init);
  const loop = parents.get(parents.get(declarator) as SyntaxNode);
  return loop?.type === 'ForOfStatement' || loop?.type === 'ForInStatement' ? loop.right : undefined;
}

/** Returns the last right side of `exports.a = exports.b = value`. */
export function skipExports(node: SyntaxNode): SyntaxNode {
  const isExport = node.type === 'AssignmentExpression' && getRoot(node.left)?.name === 'exports';
  return isExport ? skipExports(node.right) : node;
}

/** Returns the value of a string, a number, a boolean or null as JSON. */
function readLiteral(node: SyntaxNode): string | undefined {
  const text = getText(node);
  if (text !== undefined) return JSON.stringify(text);
  const isSimple =
    node.type === 'Literal' &&
    ['number', 'boolean', 'object'].includes(typeof node.value) &&
    !('regex' in node);
  return isSimple ? JSON.stringify(node.value) : undefined;
}

/** Says whether the text of an expression decides its value: a function, a class, a literal, a part of an import. */
function isCode(node: SyntaxNode, syntax: Syntax): boolean {
  if (isFunction(node) || isClass(node) || node.type === 'FunctionDeclaration') return true;
  if (readLiteral(node) !== undefined) return true;
  if (node.type === 'UnaryExpression') return isCode(node.argument, syntax);
  const root = node.type === 'MemberExpression' ? getRoot(node.object) : undefined;
  const variable = root && getVariable(syntax, root);
  if (root === undefined || variable === undefined || readImport(variable, syntax) === undefined)
    return false;
  return readPath(root, syntax).end === node;
}

/** Returns the module that a variable stands for, if its declaration is an import in one of the forms of JavaScript. */
function readImport(variable: Variable, syntax: Syntax): From | undefined {
  const definition = variable.defs[0] as unknown as
    { type: string; node: SyntaxNode; parent: SyntaxNode } | undefined;
  if (definition === undefined) return undefined;
  const { node, parent } = definition;
  if (definition.type === 'ImportBinding') {
    const specifier = getText((parent as { source?: SyntaxNode }).source) ?? '';
    if (node.type === 'ImportNamespaceSpecifier') return { specifier, path: [] };
    if (node.type === 'ImportDefaultSpecifier') return { specifier, path: ['default'] };
    const { imported } = node as { imported: SyntaxNode };
    return { specifier, path: [getExportName(imported)] };
  }
  if (node.type !== 'VariableDeclarator' || !node.init) return undefined;
  const from = readImportExpression(skipExports(node.init), syntax);
  if (from === undefined || node.id.type === 'Identifier') return from;
  if (node.id.type !== 'ObjectPattern') return undefined;
  // `const { a: name } = require('./b.js')`
  const name = definition as unknown as { name: SyntaxNode };
  const property = node.id.properties.find(
    (each) => each.type === 'Property' && isWithin(name.name, each.value),
  );
  if (property?.type !== 'Property' || property.value.type !== 'Identifier') return undefined;
  const key = getPropertyName(property.key, property.computed);
  return key === undefined ? undefined : { specifier: from.specifier, path: [...from.path, key] };
}

/** Returns the name in `export { name }` or `import { name }`. It can be an identifier or a string. */
export function getExportName(node: SyntaxNode): string {
  return getText(node) ?? getPropertyName(node, false) ?? '';
}

/**
 * Reads `require('a')`, `await import('a')`, `require('a').b`, and the calls around them that compilers add, such as
 * `_interopRequireDefault(require('a'))`.
 */
function readImportExpression(node: SyntaxNode, syntax: Syntax): From | undefined {
  const inner = unwrap(node);
  const argument = getImported(inner, syntax);
  if (argument !== undefined) {
    const specifier = getText(argument);
    return specifier === undefined ? undefined : { specifier, path: [] };
  }
  if (inner.type === 'MemberExpression') {
    const from = readImportExpression(inner.object, syntax);
    const name = getPropertyName(inner.property, inner.computed);
    return from && name !== undefined ? { specifier: from.specifier, path: [...from.path, name] } : undefined;
  }
  const isInterop = inner.type === 'CallExpression' && INTEROP.test(getCalleeName(inner.callee));
  const [first] = isInterop ? inner.arguments : [];
  return first && readImportExpression(first, syntax);
}

function getCalleeName(callee: SyntaxNode): string {
  const inner = unwrap(callee);
  if (inner.type === 'Identifier') return inner.name;
  return inner.type === 'MemberExpression' && inner.property.type === 'Identifier' ? inner.property.name : '';
}
