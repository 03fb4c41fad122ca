import type { Variable } from 'eslint-scope';
import type { Bindings } from './binding-table.js';
import { getImported } from './piece-builder.js';
import {
  findFirst,
  getRoot,
  getVariable,
  isFunction,
  isWithin,
  listReferences,
  unwrap,
  type Syntax,
  type SyntaxNode,
} from './syntax.js';

/** Finds what the statements at the top level of a module change. */
export class ModuleEffects {
  /** The statements that can change something that no binding shows, by index in the pieces. */
  readonly pieces: number[] = [];
  readonly #syntax: Syntax;
  readonly #bindings: Bindings;

  constructor(syntax: Syntax, bindings: Bindings) {
    this.#syntax = syntax;
    this.#bindings = bindings;
  }

  /**
   * Records what a statement changes. If it changes only variables of this module, it belongs to them. Otherwise it can
   * change anything. A statement that only defines Dags, or only prints, changes nothing.
   */
  add(statement: SyntaxNode): void {
    const { changed, isGlobal } = this.#findChanges(statement);
    for (const variable of changed) this.#bindings.addChange(variable, statement);
    if (isGlobal) this.pieces.push(this.#bindings.builder.add(statement));
  }

  /** Finds the variables that a statement sets, or whose methods it calls. */
  #findChanges(statement: SyntaxNode): { changed: Set<Variable>; isGlobal: boolean } {
    const changed = new Set<Variable>();
    let isGlobal = false;
    const { nodes } = this.#syntax;
    const first = findFirst(nodes, (each) => each.start, statement.start);
    for (let i = first; (nodes[i]?.start ?? Infinity) < statement.end; i++) {
      const node = nodes[i] as SyntaxNode;
      const target = getChanged(node);
      if (target === undefined || this.#isHarmless(node)) continue;
      // The body of a function that is called at once is a part of the statement. It can change its arguments.
      const isCalledAtOnce = isFunction(unwrap(target));
      const variables = isCalledAtOnce ? this.#findArguments(node) : this.#findTarget(node, target);
      if (variables === undefined) isGlobal = true;
      else for (const each of variables) if (!isDeclaredIn(each, statement)) changed.add(each);
    }
    return { changed, isGlobal };
  }

  /** Returns the variable that a node changes. Returns undefined if the node can change anything. */
  #findTarget(node: SyntaxNode, target: SyntaxNode): readonly Variable[] | undefined {
    const root = getRoot(target);
    const variable = root && getVariable(this.#syntax, root);
    if (variable === undefined) return undefined;
    if (variable.scope !== this.#syntax.topScope) return [variable];
    if (this.#bindings.isImport(variable)) return undefined;
    const isCall = node.type === 'CallExpression' || node.type === 'NewExpression';
    // `list.push(1)` changes the list. `register()` can change anything.
    return isCall && unwrap(target).type !== 'MemberExpression' ? undefined : [variable];
  }

  /** Says whether a call defines a Dag, imports a module or prints. */
  #isHarmless(node: SyntaxNode): boolean {
    if (node.type !== 'CallExpression') return false;
    const { builder } = this.#bindings;
    if (builder.isDag(node) || builder.isInDag(node) || getImported(node, this.#syntax) !== undefined)
      return true;
    const root = getRoot(node.callee);
    const variable = root && getVariable(this.#syntax, root);
    if (variable === undefined) return root !== undefined && HARMLESS.has(root.name);
    // A function of this module that defines a Dag.
    const definition = variable.defs[0]?.node as unknown as SyntaxNode | undefined;
    return definition !== undefined && builder.definesDag(definition);
  }

  /** Returns the variables of the module that a call gets as arguments. */
  #findArguments(call: SyntaxNode): readonly Variable[] {
    const list = (call as { arguments?: readonly SyntaxNode[] }).arguments ?? [];
    const variables = list.flatMap((each) =>
      listReferences(this.#syntax, each).map(({ resolved }) => resolved),
    );
    return variables.filter((each) => each !== null && each.scope === this.#syntax.topScope) as Variable[];
  }
}

/** Functions of JavaScript that a module may call while it is loaded, and that change nothing of the user. */
const HARMLESS: ReadonlySet<string> = new Set(['console', 'String', 'Number', 'JSON', 'Symbol']);

/** Returns the expression that a node changes: the left side of `=`, or the function that is called. */
function getChanged(node: SyntaxNode): SyntaxNode | undefined {
  if (node.type === 'AssignmentExpression') return node.left;
  if (node.type === 'UpdateExpression') return node.argument;
  if (node.type === 'CallExpression' || node.type === 'NewExpression') return node.callee;
  return node.type === 'UnaryExpression' && node.operator === 'delete' ? node.argument : undefined;
}

function isDeclaredIn({ scope }: Variable, node: SyntaxNode): boolean {
  return isWithin(scope.block as unknown as SyntaxNode, node);
}
