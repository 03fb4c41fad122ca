import { types } from 'node:util';
import type { Closure, ClosureReader } from './closure.js';
import type { GraphModule, ModuleGraph } from './module-graph.js';
import { WHOLE, type Binding, type FunctionEntry } from './module-model.js';
import { hashFunctionText } from './parse-module.js';

/** A function in the text of a module. */
export interface FoundFunction {
  readonly module: GraphModule;
  readonly entry: FunctionEntry;
}

/** Finds the functions of a running program in the texts of its modules, and reads the variables of the modules. */
export class UserFunctions {
  readonly closures: ClosureReader;
  readonly #graph: ModuleGraph;
  /** By the text of a function. */
  readonly #found = new Map<string, readonly FoundFunction[]>();
  #owners: Map<object, { readonly module: GraphModule; readonly binding: Binding }> | undefined;

  constructor(graph: ModuleGraph, closures: ClosureReader) {
    this.#graph = graph;
    this.closures = closures;
  }

  /** Finds the text of a function. The same text can be in several places that nothing distinguishes. */
  find(target: CallableFunction): readonly FoundFunction[] {
    const text = Function.prototype.toString.call(target);
    let found = this.#found.get(text);
    if (found === undefined) {
      const hash = hashFunctionText(text);
      found = [...this.#graph.modules.values()].flatMap((module) =>
        (getOwn(module.model.functions, hash) ?? []).map((entry) => ({ module, entry })),
      );
      this.#found.set(text, found);
    }
    if (found.length < 2) return found;
    const position = this.closures.read(target)?.position;
    const exact = position && found.filter(({ module, entry }) => contains(entry, position, module.indent));
    return exact !== undefined && exact.length > 0 ? exact : found;
  }

  /** Says whether a function uses a `this` of its own. */
  usesReceiver(target: CallableFunction): boolean {
    return this.find(target).some(({ module, entry }) =>
      module.model.pieces[entry.piece]?.marks.includes('receiver'),
    );
  }

  /**
   * Reads a variable at the top level of a module: from the exports, or from the scope of a function of the module.
   * Returns undefined if nothing shows the variable.
   */
  readTopLevel(binding: Binding, module: GraphModule): { value: unknown } | undefined {
    const { exports, model } = module;
    if ((typeof exports !== 'object' || exports === null) && typeof exports !== 'function') return undefined;
    const index = model.bindings.indexOf(binding);
    const name = Object.keys(model.exports).find(
      (each) => model.exports[each]?.binding === index && model.exports[each]?.path.length === 0,
    );
    if (name === WHOLE) return { value: exports };
    if (name !== undefined) return readProperty(exports, name);
    const scope = this.#listTopScopes(module, exports).findLast((each) => Object.hasOwn(each, binding.name));
    return scope && { value: scope[binding.name] };
  }

  /** Finds the variable at the top level of a module whose value is this object. */
  findOwner(value: object): { readonly module: GraphModule; readonly binding: Binding } | undefined {
    this.#owners ??= this.#listOwners();
    return this.#owners.get(value);
  }

  #listOwners(): Map<object, { readonly module: GraphModule; readonly binding: Binding }> {
    const owners = new Map<object, { readonly module: GraphModule; readonly binding: Binding }>();
    for (const module of this.#graph.modules.values()) {
      for (const binding of module.model.bindings) {
        // The text of a variable that is set more than once does not say which value it has.
        if (binding.isLocal || binding.kind !== 'value' || binding.pieces.length === 0) continue;
        const value = this.readTopLevel(binding, module)?.value;
        const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function';
        if (isObject && !owners.has(value)) owners.set(value, { module, binding });
      }
    }
    return owners;
  }

  /** Lists the scopes around one function of a module. The last ones are those of the module. */
  #listTopScopes(module: GraphModule, exports: object): Closure['scopes'] {
    if (module.anchor !== undefined) return this.closures.read(module.anchor)?.scopes ?? [];
    const values = [exports, ...Object.keys(exports).map((name) => readProperty(exports, name)?.value)];
    for (const value of values) {
      if (typeof value !== 'function' || types.isProxy(value)) continue;
      const isHere = this.find(value).some((each) => each.module === module);
      if (isHere) return this.closures.read(value)?.scopes ?? [];
    }
    return [];
  }
}

/** Returns an own property of a record. */
export function getOwn<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** Reads an export. It can't be read if the module has thrown an error before it set the export. */
function readProperty(exports: object, name: string): { value: unknown } | undefined {
  try {
    return { value: (exports as Readonly<Record<string, unknown>>)[name] };
  } catch {
    return undefined;
  }
}

/** Says whether a function begins at a position of its script. `indent` is the text before the code in the first line. */
function contains(
  { range: [startLine, startColumn, endLine, endColumn] }: FunctionEntry,
  position: { readonly line: number; readonly column: number },
  indent: number,
): boolean {
  const { line } = position;
  const column = line === 0 ? position.column - indent : position.column;
  const isAfterStart = line > startLine || (line === startLine && column >= startColumn);
  return isAfterStart && (line < endLine || (line === endLine && column < endColumn));
}
