import type { GraphModule, ModuleGraph, Target } from './module-graph.js';
import { WHOLE, type Binding, type Piece, type Use } from './module-model.js';
import { hash, serializeLong } from './hash.js';
import { getSubject, hashPieces, isPure, listVariables } from './subject.js';
import { getOwn, type UserFunctions } from './user-functions.js';
import { isPlain, writeValue, type ValueVisitor, type WriteOptions } from './value-writer.js';

/** The code and the values that the fingerprints of all tasks of a process read. */
export interface CodeSources {
  /** Undefined: the code of functions is not followed. */
  readonly graph: ModuleGraph | undefined;
  readonly functions: UserFunctions | undefined;
  /** The directory of the config. */
  readonly root: string;
  /** The environment variables of the process. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Returns a text for an object of this program, such as a task, and undefined for any other object. */
  readonly describeOwn: (value: object) => string | undefined;
  /** The code parts that each use of a module adds, by module and use. A use is added when the first task needs it. */
  readonly known: Map<string, CodeParts>;
  /** The hashes of short texts. Most tasks of a Dag have the same connection, and many have the same SQL. */
  readonly texts: Map<string, string>;
}

/** The longest text whose hash is kept, and the most hashes that are kept. */
const LONGEST_KEPT = 1000;
const MOST_KEPT = 1000;

/** The code around a piece: the module, and the function whose variables are the local names of the piece. */
interface Around {
  readonly module: GraphModule;
  readonly target?: CallableFunction | undefined;
  /** True if the piece runs when its module is loaded, so that only its result is used later. */
  readonly isEarly?: boolean | undefined;
}

/**
 * Collects everything that decides what one task does, as parts: the hash of each function, constant, file and value that
 * it uses, by the words that name it in messages.
 */
export class CodeParts implements ValueVisitor {
  /** By subject: a hash, or the version of a package. */
  readonly parts = new Map<string, string>();
  /** The subjects of which nobody can tell whether they have changed. */
  readonly undecided = new Set<string>();
  /** True if a function was found. */
  usesCode = false;
  readonly #sources: CodeSources;
  /** True if these are the parts of a use at the top level of a module, which several tasks can share. */
  readonly #isShared: boolean;
  readonly #words = new Set<string>();
  readonly #seen = new Set<unknown>();
  readonly #seenEarly = new Set<unknown>();
  #usesAnyVariable = false;
  /** The variable whose value is being written. */
  #written: Binding | undefined;

  constructor(sources: CodeSources, isShared = false) {
    this.#sources = sources;
    this.#isShared = isShared;
  }

  /** Adds an option of the task, also all code that its functions use. */
  add(subject: string, value: unknown): void {
    if (typeof value === 'string') return void this.parts.set(subject, this.#hashText(value));
    const bytes = serializeLong(value);
    if (bytes !== undefined) return void this.parts.set(subject, hash(bytes));
    const made = typeof value === 'function' ? this.#describeMade(value) : undefined;
    const written = made === undefined ? writeValue(value, this.#getWriteOptions()) : undefined;
    if (written?.isUnreadable === true || written?.isOpaque === true) this.undecided.add(subject);
    else this.parts.set(subject, hash(made ?? written?.text ?? ''));
  }

  #hashText(value: string): string {
    const { texts } = this.#sources;
    let known = texts.get(value);
    if (known === undefined) {
      known = hash(writeValue(value, this.#getWriteOptions()).text);
      if (value.length <= LONGEST_KEPT && texts.size < MOST_KEPT) texts.set(value, known);
    }
    return known;
  }

  #getWriteOptions(): WriteOptions {
    return { visitor: this, root: this.#sources.root };
  }

  /** Adds what applies to the whole task. Must be called last. */
  finish(): void {
    const { graph, variables } = this.#sources;
    if (!this.usesCode || graph === undefined) return;
    this.#merge(this.#share('effects', (shared) => shared.#addEffects(graph)));
    if (this.#usesAnyVariable) for (const word of this.#words) if (word in variables) this.#addVariable(word);
  }

  describeOwn(value: object): string | undefined {
    return this.#sources.describeOwn(value);
  }

  /** Returns the hash of a function of the user, and adds what the function uses. */
  describeFunction(target: CallableFunction): string | undefined {
    this.usesCode = true;
    const { functions } = this.#sources;
    if (functions === undefined) return `code ${Function.prototype.toString.call(target)}`;
    const found = functions.find(target);
    if (found.length === 0) return this.#describeNative(target, functions);
    if (this.#isNew(target, false))
      for (const { module, entry } of found) this.#addPiece(entry.piece, { module, target });
    return `code ${found.map(({ module, entry }) => module.model.pieces[entry.piece]?.hash).join(' ')}`;
  }

  /** Describes a bound function, and a function of JavaScript itself. */
  #describeNative(target: CallableFunction, functions: UserFunctions): string | undefined {
    const text = Function.prototype.toString.call(target);
    if (!/\[native code\]\s*\}$/.test(text)) return undefined;
    const bound = functions.closures.read(target)?.bound;
    if (bound === undefined) return `builtin ${target.name}`;
    if (!this.#isNew(target, false)) return `again ${target.name}`;
    const written = writeValue(bound, this.#getWriteOptions());
    if (written.isUnreadable || written.isOpaque)
      this.undecided.add(`what \`bind\` has set for the function ${target.name}`);
    return `bound ${written.text}`;
  }

  /**
   * Describes a function that a package made, perhaps around a function of the user: by its text and by the variables that
   * it uses. Returns undefined for any other function.
   */
  #describeMade(target: CallableFunction): string | undefined {
    const { functions } = this.#sources;
    const text = Function.prototype.toString.call(target);
    if (functions === undefined || /\[native code\]/.test(text) || functions.find(target).length > 0)
      return undefined;
    this.usesCode = true;
    const parts = [text];
    for (const [name, value] of listVariables(functions.closures.read(target))) {
      if (!new RegExp(`(?<![\\w$.])${name.replaceAll('$', '\\$')}(?![\\w$])`).test(text)) continue;
      if (typeof value === 'function' && functions.find(value).length > 0)
        this.add(`the function "${name}"`, value);
      else if (typeof value !== 'function') parts.push(name, writeValue(value, this.#getWriteOptions()).text);
    }
    return parts.join(' ');
  }

  /** Describes an object of a package by the constant of the user that has it, and adds the text of the constant. */
  describeForeign(value: object): string | undefined {
    const owner = this.#sources.functions?.findOwner(value);
    // A constant that is being written is not described by itself, but by its text.
    if (owner === undefined || owner.binding === this.#written) return undefined;
    this.#addTopLevel(owner.binding, [], { module: owner.module });
    return `the value of ${owner.binding.name} in ${owner.module.name}`;
  }

  #addPiece(index: number, around: Around): void {
    const { module } = around;
    const piece = module.model.pieces[index];
    if (piece === undefined) return;
    for (const name of piece.variables) this.#addVariable(name);
    for (const word of piece.words) this.#words.add(word);
    this.#addMarks(piece, around);
    for (const use of piece.uses) this.#addUse(use, around);
  }

  #addMarks({ marks }: Piece, { module, isEarly }: Around): void {
    for (const mark of marks) {
      if (mark === 'eval') this.undecided.add(`the code in \`eval\` in ${module.name}`);
      else if (mark === 'import') this.undecided.add(`the import of a computed name in ${module.name}`);
      else if (mark === 'this') this.undecided.add(`\`this\` of a function in ${module.name}`);
      else if (mark === 'environment') this.#usesAnyVariable = true;
      else if (mark === 'outside' && isEarly === true)
        this.undecided.add(`what ${module.name} reads from outside while it is loaded`);
    }
  }

  #addVariable(name: string): void {
    const value = this.#sources.variables[name];
    this.parts.set(`the environment variable ${name}`, value === undefined ? 'unset' : hash(value));
  }

  #addUse(use: Use, around: Around): void {
    const { module, isEarly } = around;
    const binding = module.model.bindings[use.binding];
    if (binding?.isLocal === true) this.#addLocal(binding, use.path, around);
    else if (binding !== undefined && this.#isShared)
      this.#addTopLevel(binding, use.path, { module, isEarly });
    else if (binding !== undefined) {
      const key = `${module.file}\0${use.binding}\0${use.path.join('\0')}\0${isEarly === true}`;
      this.#merge(this.#share(key, (shared) => shared.#addTopLevel(binding, use.path, { module, isEarly })));
    }
  }

  /** Returns the parts that `fill` adds. They are collected once, and shared by all tasks. */
  #share(key: string, fill: (shared: CodeParts) => void): CodeParts {
    const { known } = this.#sources;
    let shared = known.get(key);
    if (shared === undefined) {
      shared = new CodeParts(this.#sources, true);
      known.set(key, shared);
      fill(shared);
    }
    return shared;
  }

  #merge(shared: CodeParts): void {
    for (const [subject, value] of shared.parts) this.parts.set(subject, value);
    for (const subject of shared.undecided) this.undecided.add(subject);
    for (const word of shared.#words) this.#words.add(word);
    if (shared.#usesAnyVariable) this.#usesAnyVariable = true;
  }

  #addEffects(graph: ModuleGraph): void {
    for (const module of graph.modules.values()) {
      const { effects } = module.model;
      if (effects.length === 0 || module.exports === undefined) continue;
      const hashes = effects.map((each) => module.model.pieces[each]?.hash ?? '');
      this.parts.set(`the top level of ${module.name}`, hash(hashes.join(' ')));
      for (const each of effects) this.#addPiece(each, { module });
    }
  }

  /** Adds a name at the top level of a module. */
  #addTopLevel(binding: Binding, path: readonly string[], around: Around): void {
    const { module, isEarly } = around;
    if (binding.from !== undefined) {
      const target = module.targets.get(binding.from.specifier);
      if (target !== undefined) this.#addImport(target, [...binding.from.path, ...path], isEarly);
    } else if (binding.kind === 'code') this.#addText(binding, around);
    else {
      const found = this.#sources.functions?.readTopLevel(binding, module);
      if (found !== undefined) this.#addValue(binding, path, { around, value: found.value });
      else this.#addText(binding, { ...around, isEarly: true });
    }
  }

  /** Adds a variable of a function or a block. Its value comes from the function that uses it. */
  #addLocal(binding: Binding, path: readonly string[], around: Around): void {
    const { module, target } = around;
    if (binding.from !== undefined) return this.#addTopLevel(binding, path, around);
    const closure = target && this.#sources.functions?.closures.read(target);
    const scope = closure?.scopes.find((each) => Object.hasOwn(each, binding.name));
    if (scope !== undefined) this.#addValue(binding, path, { around, value: scope[binding.name] });
    else if (binding.kind === 'code') this.#addText(binding, around);
    else this.undecided.add(getSubject(binding, path, module));
  }

  /** Adds the value of a variable. If the value does not show everything, adds the text that it came from. */
  #addValue(
    binding: Binding,
    path: readonly string[],
    { around, value }: { readonly around: Around; readonly value: unknown },
  ): void {
    const { module } = around;
    const hasText = binding.pieces.length > 0;
    const [part, names] = this.#follow(value, path);
    const subject = getSubject(binding, names, module);
    if (!binding.isLocal && !this.#isNew(subject, around.isEarly)) return;
    const outer = this.#written;
    this.#written = binding;
    const written = writeValue(part, { ...this.#getWriteOptions(), stopsIfOpaque: hasText });
    this.#written = outer;
    const isShown = !written.isOpaque && !written.isUnreadable;
    if (!isShown && hasText) this.#addText(binding, { ...around, isEarly: true });
    else if (!isShown) this.undecided.add(subject);
    else this.#set(subject, hash(written.text));
    // A variable that functions set while tasks run depends on those functions, whatever its value is now.
    for (const each of binding.changes)
      if (this.#isNew(`${module.file} ${each}`, false)) this.#addChange(each, around);
  }

  /** Sets a part. Two functions can have local variables of the same name. */
  #set(subject: string, value: string): void {
    let free = subject;
    for (let count = 2; this.parts.has(free) && this.parts.get(free) !== value; count++)
      free = `${subject} (${count})`;
    this.parts.set(free, value);
  }

  #addChange(index: number, { module, target }: Around): void {
    this.#set(`code that sets a variable in ${module.name}`, module.model.pieces[index]?.hash ?? '');
    this.#addPiece(index, { module, target });
  }

  /** Adds the text of a declaration, and what the text uses. */
  #addText(binding: Binding, around: Around): void {
    const { module } = around;
    if (!this.#isNew(binding, around.isEarly)) return;
    const { literal } = binding;
    const written =
      literal === undefined ? undefined : writeValue(JSON.parse(literal), this.#getWriteOptions());
    this.#set(getSubject(binding, [], module), written ? hash(written.text) : hashPieces(binding, module));
    for (const each of [...binding.pieces, ...binding.changes]) this.#addPiece(each, around);
  }

  /** Says whether something was not added before. What runs early is followed once more, because it has more marks. */
  #isNew(key: unknown, isEarly: boolean | undefined): boolean {
    const seen = isEarly === true ? this.#seenEarly : this.#seen;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  }

  /** Follows the names of properties through plain objects, up to a value that is used as a whole. */
  #follow(value: unknown, path: readonly string[]): [value: unknown, names: readonly string[]] {
    let part = value;
    const names: string[] = [];
    for (const name of path) {
      const property = isPlain(part) ? Object.getOwnPropertyDescriptor(part, name) : undefined;
      if (property === undefined || !('value' in property)) break;
      // A method that uses `this` can use every other property.
      if (
        typeof property.value === 'function' &&
        this.#sources.functions?.usesReceiver(property.value as CallableFunction)
      )
        break;
      part = property.value;
      names.push(name);
    }
    return [part, names];
  }

  #addImport(target: Target, path: readonly string[], isEarly: boolean | undefined): void {
    if (target.kind === 'package') this.parts.set(`the package ${target.name}`, target.version);
    else if (target.kind === 'data') this.parts.set(target.name, target.hash);
    else if (target.kind === 'builtin') this.#addBuiltin(target.name, path, isEarly);
    const module = this.#sources.graph?.find(target);
    if (module !== undefined) this.#addExport(module, path, isEarly);
  }

  #addBuiltin(name: string, path: readonly string[], isEarly: boolean | undefined): void {
    if (isEarly === true && !isPure(name))
      this.undecided.add(`what is read with node:${name} while the config is loaded`);
    const index = path.indexOf('env');
    if (name !== 'process' || index < 0) return;
    const variable = path[index + 1];
    if (variable === undefined) this.#usesAnyVariable = true;
    else this.#addVariable(variable);
  }

  /** Adds what an export of a module stands for. Without a name, or with a name that is not found, adds all of it. */
  #addExport(module: GraphModule, [name, ...rest]: readonly string[], isEarly: boolean | undefined): void {
    const { exports } = module.model;
    const use = name === undefined ? undefined : getOwn(exports, name);
    if (use !== undefined) return this.#addUse({ ...use, path: [...use.path, ...rest] }, { module, isEarly });
    const whole = getOwn(exports, WHOLE);
    if (whole !== undefined && (name === undefined || name === 'default'))
      return this.#addUse({ ...whole, path: rest }, { module, isEarly });
    const star = name === undefined ? undefined : this.#findStar(module, name, new Set());
    if (star !== undefined && name !== undefined) return this.#addExport(star, [name, ...rest], isEarly);
    // The default import of CommonJS is `module.exports`, whose properties are the exports.
    const [first] = rest;
    if (name === 'default' && first !== undefined && getOwn(exports, first) !== undefined)
      return this.#addExport(module, rest, isEarly);
    this.#addModule(module, isEarly);
  }

  /** Finds the module that exports a name by one of the `export *` of a module. */
  #findStar(module: GraphModule, name: string, seen: Set<GraphModule>): GraphModule | undefined {
    for (const { binding } of module.model.stars) {
      const target = module.targets.get(module.model.bindings[binding]?.from?.specifier ?? '');
      const found = target && this.#sources.graph?.find(target);
      if (found === undefined || seen.has(found)) continue;
      seen.add(found);
      if (getOwn(found.model.exports, name) !== undefined) return found;
      const further = this.#findStar(found, name, seen);
      if (further !== undefined) return further;
    }
    return undefined;
  }

  /** Adds a module as a whole, with all that it exports and imports. */
  #addModule(module: GraphModule, isEarly: boolean | undefined): void {
    if (!this.#isNew(module, isEarly)) return;
    this.parts.set(module.name, module.model.hash);
    for (const use of Object.values(module.model.exports)) this.#addUse(use, { module, isEarly });
    for (const target of module.targets.values()) this.#addImport(target, [], isEarly);
  }
}
