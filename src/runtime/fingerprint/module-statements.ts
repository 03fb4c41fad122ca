import type { Variable } from 'eslint-scope';
import { type Bindings, getExportName, skipExports } from './binding-table.js';
import { WHOLE, type Use } from './module-model.js';
import { ModuleEffects } from './module-effects.js';
import { getImported } from './piece-builder.js';
import {
  findFirst,
  getPropertyName,
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

/** Reads the statements at the top level of a module: what they export, and what they change. */
export class ModuleStatements {
  readonly exports: Record<string, Use> = Object.create(null) as Record<string, Use>;
  readonly stars: Use[] = [];
  hasUnknownExports = false;
  readonly #syntax: Syntax;
  readonly #bindings: Bindings;
  readonly #effects: ModuleEffects;

  constructor(syntax: Syntax, bindings: Bindings) {
    this.#syntax = syntax;
    this.#bindings = bindings;
    this.#effects = new ModuleEffects(syntax, bindings);
    for (const statement of syntax.program.body) this.#read(statement);
  }

  /** The statements that can change something that no binding shows, by index in the pieces. */
  get effects(): readonly number[] {
    return this.#effects.pieces;
  }

  #read(statement: SyntaxNode): void {
    if (SILENT.has(statement.type)) return;
    if (statement.type.startsWith('Export')) this.#readExport(statement);
    else if (statement.type === 'VariableDeclaration')
      for (const declarator of statement.declarations) this.#readDeclarator(declarator);
    else if (statement.type === 'ExpressionStatement') this.#readExpression(statement.expression, statement);
    else this.#effects.add(statement);
  }

  #readExport(statement: SyntaxNode): void {
    if (statement.type === 'ExportAllDeclaration') {
      const use = this.#importAll(getText(statement.source) ?? '');
      if (statement.exported) this.exports[getExportName(statement.exported)] = use;
      else this.stars.push(use);
    } else if (statement.type === 'ExportDefaultDeclaration') this.#readDefaultExport(statement.declaration);
    else if (statement.type === 'ExportNamedDeclaration') this.#readNamedExport(statement);
  }

  #readDefaultExport(declaration: SyntaxNode): void {
    const id = 'id' in declaration ? declaration.id : undefined;
    const identifier = id ?? unwrap(declaration);
    if (identifier.type === 'Identifier') this.#exportVariable('default', identifier);
    else this.exports['default'] = this.#unnamed('default', declaration);
  }

  #readNamedExport(statement: SyntaxNode & { type: 'ExportNamedDeclaration' }): void {
    const specifier = getText(statement.source ?? undefined);
    for (const each of statement.specifiers) {
      const [name, local] = [getExportName(each.exported), getExportName(each.local)];
      if (specifier === undefined) this.#exportVariable(name, each.local);
      else this.exports[name] = { binding: this.#bindings.addImport(specifier, [local]), path: [] };
    }
    const { declaration } = statement;
    if (declaration?.type === 'VariableDeclaration')
      for (const each of declaration.declarations) this.#exportPattern(each.id);
    else if (declaration?.id) this.#exportVariable(declaration.id.name, declaration.id);
  }

  /** A variable that nothing reads was declared for the effect of its initial value. */
  #readDeclarator(declarator: SyntaxNode & { type: 'VariableDeclarator' }): void {
    const { init, id } = declarator;
    if (!init) return;
    this.#readExportAssignments(init, id);
    const variables = this.#findVariables(id);
    const isRead = variables.some(({ references }) => references.some((reference) => reference.isRead()));
    const value = skipExports(init);
    if (!isRead && value === init && hasCall(value, this.#syntax) && this.#findImports(value).length === 0)
      this.#effects.add(value);
  }

  #readExpression(expression: SyntaxNode, statement: SyntaxNode): void {
    if (expression.type === 'Literal') return; // A directive, such as 'use strict'.
    if (expression.type === 'AssignmentExpression' && this.#readExportAssignments(expression, undefined))
      return;
    if (this.#readExportCall(expression)) return;
    if (expression.type === 'LogicalExpression' && this.#mentionsExports(expression)) return;
    // `require('./a.js')` and `await import('./a.js')`: the effects are those of the module.
    if (getImported(unwrap(expression), this.#syntax) !== undefined) return;
    this.#effects.add(statement);
  }

  /** Reads `exports.a = module.exports.b = value` and `module.exports = value`. Returns false for anything else. */
  #readExportAssignments(node: SyntaxNode, id: SyntaxNode | undefined): boolean {
    if (node.type !== 'AssignmentExpression') return false;
    const names = this.#getExportPath(node.left);
    if (names === undefined) return false;
    let value: SyntaxNode = node.right;
    while (value.type === 'AssignmentExpression') value = value.right;
    this.#readExportAssignments(node.right, id);
    if (isVoid(value)) return true;
    const [name = 'default'] = names;
    const inner = unwrap(value);
    if (names.length === 0) this.#exportWhole(inner);
    else if (id?.type === 'Identifier') this.#exportVariable(name, id);
    else if (inner.type === 'Identifier' && getVariable(this.#syntax, inner))
      this.#exportVariable(name, inner);
    else this.exports[name] = this.#unnamed(name, value);
    return true;
  }

  /** Reads `module.exports = …`. An object literal also exports its properties. */
  #exportWhole(value: SyntaxNode): void {
    if (value.type === 'Identifier' && getVariable(this.#syntax, value)) this.#exportVariable(WHOLE, value);
    else this.exports[WHOLE] = this.#unnamed(WHOLE, value);
    if (value.type !== 'ObjectExpression') {
      this.hasUnknownExports = true;
      return;
    }
    for (const property of value.properties) {
      const name =
        property.type === 'Property' ? getPropertyName(property.key, property.computed) : undefined;
      if (property.type !== 'Property' || name === undefined) this.hasUnknownExports = true;
      else if (property.value.type === 'Identifier' && getVariable(this.#syntax, property.value))
        this.#exportVariable(name, property.value);
      else this.exports[name] = this.#unnamed(name, property.value);
    }
  }

  /**
   * Reads the calls by which compilers export: `Object.defineProperty(exports, 'a', { get: () => b.c })`, and those that
   * export everything of another module again.
   */
  #readExportCall(expression: SyntaxNode): boolean {
    if (expression.type !== 'CallExpression' || !this.#mentionsExports(expression)) return false;
    const [, key, descriptor] = expression.arguments;
    const name = key && getText(key);
    if (name === '__esModule') return true;
    const getter = descriptor && findReturned(descriptor, this.#syntax);
    const root = getter && getRoot(getter);
    const variable = root && getVariable(this.#syntax, root);
    if (name !== undefined && root !== undefined && variable !== undefined) {
      this.exports[name] = {
        binding: this.#bindings.indexOf(variable),
        path: readPath(root, this.#syntax).path,
      };
      return true;
    }
    const [specifier] = this.#findImports(expression);
    const namespace = specifier === undefined ? this.#findNamespace(expression) : this.#importAll(specifier);
    if (namespace === undefined) this.hasUnknownExports = true;
    else this.stars.push(namespace);
    return true;
  }

  #isImport(variable: Variable): boolean {
    return this.#bindings.isImport(variable);
  }

  #exportPattern(pattern: SyntaxNode): void {
    for (const variable of this.#findVariables(pattern))
      this.exports[variable.name] = { binding: this.#bindings.indexOf(variable), path: [] };
  }

  #exportVariable(name: string, identifier: SyntaxNode): void {
    const { name: variableName } = identifier as { name?: string };
    const variable = this.#syntax.topScope.set.get(variableName ?? '');
    if (variable === undefined) this.hasUnknownExports = true;
    else this.exports[name] = { binding: this.#bindings.indexOf(variable), path: [] };
  }

  #unnamed(name: string, node: SyntaxNode): Use {
    return { binding: this.#bindings.addUnnamed(name, node), path: [] };
  }

  #importAll(specifier: string): Use {
    return { binding: this.#bindings.addImport(specifier), path: [] };
  }

  /** Returns the names after `exports` or `module.exports`. Returns undefined for another expression. */
  #getExportPath(node: SyntaxNode): readonly string[] | undefined {
    const root = getRoot(node);
    if (root === undefined || getVariable(this.#syntax, root) !== undefined) return undefined;
    const { path } = readPath(root, this.#syntax);
    if (root.name === 'exports') return path;
    return root.name === 'module' && path[0] === 'exports' ? path.slice(1) : undefined;
  }

  #mentionsExports(node: SyntaxNode): boolean {
    return listReferences(this.#syntax, node).some(
      ({ identifier, resolved }) => resolved === null && /^(?:exports|module)$/.test(identifier.name),
    );
  }

  /** Returns the use of the only import that an expression mentions. */
  #findNamespace(node: SyntaxNode): Use | undefined {
    const variables = new Set(
      listReferences(this.#syntax, node).flatMap(({ resolved }) =>
        resolved && this.#isImport(resolved) ? [resolved] : [],
      ),
    );
    const [variable] = variables;
    return variable && variables.size === 1
      ? { binding: this.#bindings.indexOf(variable), path: [] }
      : undefined;
  }

  /** Lists the modules that are imported in a part of the text. */
  #findImports(node: SyntaxNode): readonly string[] {
    const { nodes } = this.#syntax;
    const found: string[] = [];
    for (
      let i = findFirst(nodes, (each) => each.start, node.start);
      (nodes[i]?.start ?? Infinity) < node.end;
      i++
    ) {
      const text = getText(getImported(nodes[i] as SyntaxNode, this.#syntax));
      if (text !== undefined) found.push(text);
    }
    return found;
  }

  #findVariables(pattern: SyntaxNode): readonly Variable[] {
    return this.#syntax.topScope.variables.filter(({ identifiers }) =>
      identifiers.some((identifier) => isWithin(identifier as never, pattern)),
    );
  }
}

/** The statements that only declare. */
const SILENT: ReadonlySet<string> = new Set([
  'ImportDeclaration',
  'FunctionDeclaration',
  'ClassDeclaration',
  'EmptyStatement',
]);

/** Returns what the first function in an expression returns: of `{ get: function () { return a.b; } }`. */
function findReturned(node: SyntaxNode, { nodes }: Syntax): SyntaxNode | undefined {
  for (
    let i = findFirst(nodes, (each) => each.start, node.start);
    (nodes[i]?.start ?? Infinity) < node.end;
    i++
  ) {
    const each = nodes[i] as SyntaxNode;
    if (each.type === 'ReturnStatement') return each.argument ?? undefined;
    if (each.type === 'ArrowFunctionExpression' && each.expression) return each.body;
  }
  return undefined;
}

function hasCall(node: SyntaxNode, { nodes }: Syntax): boolean {
  for (
    let i = findFirst(nodes, (each) => each.start, node.start);
    (nodes[i]?.start ?? Infinity) < node.end;
    i++
  ) {
    const each = nodes[i] as SyntaxNode;
    if (isFunction(each)) return false;
    if (each.type === 'CallExpression' || each.type === 'NewExpression') return true;
  }
  return false;
}

function isVoid(node: SyntaxNode): boolean {
  return node.type === 'UnaryExpression' && node.operator === 'void';
}
