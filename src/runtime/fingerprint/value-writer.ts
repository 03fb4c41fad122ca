import { Stream } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { types } from 'node:util';

/** A value as text, for comparison with the same value of another process. */
export interface ValueText {
  /** A text that differs if the value differs. */
  readonly text: string;
  /** True if the text does not show all of the value: it contains an object or a function of a package. */
  readonly isOpaque: boolean;
  /** True if the text shows nothing of a part of the value: a stream, a promise, a private field, or too large a value. */
  readonly isUnreadable: boolean;
}

/** Describes the functions and objects inside a value that are not data. */
export interface ValueVisitor {
  /** Returns a text for a function or a class. Undefined if its code is not the user's. */
  describeFunction(value: CallableFunction): string | undefined;
  /** Returns a text for an object of this program, such as a task. Undefined for any other object. */
  describeOwn(value: object): string | undefined;
  /** Returns a text for an object or a function of a package, if a constant of the user has the same value. */
  describeForeign(value: object): string | undefined;
}

/** The most values that are read inside one value, and how deep they can be. */
const MOST_VALUES = 50_000;
const MOST_DEPTH = 500;

/** Options of `writeValue`. */
export interface WriteOptions {
  readonly visitor: ValueVisitor;
  /** The directory of the config. Paths below it get the same text on every machine. */
  readonly root: string;
  /** True: the rest of the value does not matter once it is known to be opaque. */
  readonly stopsIfOpaque?: boolean;
}

/**
 * Writes a value as a text. Getters are not called: a property with a getter is written as the code of its getter.
 */
export function writeValue(value: unknown, options: WriteOptions): ValueText {
  const writer = new ValueWriter(options);
  writer.write(value);
  return writer.finish();
}

/** Says whether a value is an object that a literal made, or an array. */
export function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return false;
  if (Array.isArray(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return true;
  // The exports of a module.
  return types.isModuleNamespaceObject(value);
}

class ValueWriter {
  readonly #options: WriteOptions;
  readonly #parts: string[] = [];
  readonly #seen = new Map<object, number>();
  #count = 0;
  #depth = 0;
  #isOpaque = false;
  #isUnreadable = false;

  constructor(options: WriteOptions) {
    this.#options = options;
  }

  finish(): ValueText {
    return { text: this.#parts.join(''), isOpaque: this.#isOpaque, isUnreadable: this.#isUnreadable };
  }

  write(value: unknown): void {
    if (++this.#count > MOST_VALUES || this.#depth > MOST_DEPTH) this.#isUnreadable = true;
    if (this.#isUnreadable) return;
    this.#depth++;
    this.#write(value);
    this.#depth--;
  }

  #write(value: unknown): void {
    const { root } = this.#options;
    if (typeof value === 'string')
      this.#add(JSON.stringify(root.length < 2 ? value : value.replaceAll(root, '<root>')));
    else if (typeof value === 'bigint') this.#add(`${value}n`);
    else if (typeof value === 'function') this.#writeFunction(value);
    else if (typeof value === 'object' && value !== null) this.#writeObject(value);
    else this.#add(Object.is(value, -0) ? '-0' : String(value));
  }

  #add(text: string): void {
    this.#parts.push(text, ' ');
  }

  #setOpaque(): void {
    this.#isOpaque = true;
    if (this.#options.stopsIfOpaque === true) this.#isUnreadable = true;
  }

  #writeFunction(value: CallableFunction): void {
    const { visitor } = this.#options;
    const text = visitor.describeFunction(value) ?? visitor.describeForeign(value);
    if (text === undefined) this.#setOpaque();
    this.#add(text ?? `function ${Function.prototype.toString.call(value)}`);
  }

  #writeObject(value: object): void {
    const own = this.#options.visitor.describeOwn(value);
    const index = this.#seen.get(value);
    if (own !== undefined || index !== undefined) return this.#add(own ?? `again ${index}`);
    this.#seen.set(value, this.#seen.size);
    if (types.isProxy(value) || types.isPromise(value) || types.isGeneratorObject(value) || isStream(value)) {
      this.#isUnreadable = true;
    } else if (Array.isArray(value)) {
      this.#add('[');
      for (let i = 0; i < value.length && !this.#isUnreadable; i++) this.write(value[i]);
      this.#add(']');
    } else if (!this.#writeBuiltin(value)) {
      const isOfUser = isPlain(value) || this.#writeClass(value);
      if (isOfUser) this.#writeProperties(value);
      else this.#writeForeign(value);
    }
  }

  /** Writes an object of a class of JavaScript. Returns false for any other object. */
  #writeBuiltin(value: object): boolean {
    if (types.isDate(value)) this.#add(`Date ${value.getTime()}`);
    else if (types.isRegExp(value)) this.#add(`RegExp ${value.source} ${value.flags}`);
    else if (value instanceof URL) this.#add(`URL ${value.href}`);
    else if (types.isArrayBufferView(value))
      this.#add(`bytes ${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}`);
    else if (types.isMap(value)) {
      this.#add('Map');
      for (const [key, each] of value) {
        this.write(key);
        this.write(each);
      }
      this.#add('end');
    } else if (types.isSet(value)) {
      this.#add('Set');
      for (const each of value) this.write(each);
      this.#add('end');
    } else return false;
    return true;
  }

  /** Writes the class of an object. Returns false if the class is not the user's. */
  #writeClass(value: object): boolean {
    const { constructor } = Object.getPrototypeOf(value) as { constructor?: unknown };
    if (typeof constructor !== 'function' || constructor === Object) return false;
    const text = this.#options.visitor.describeFunction(constructor);
    if (text === undefined) return false;
    this.#add(`of ${text}`);
    // A private field shows nowhere.
    if (/#[\w$]/.test(Function.prototype.toString.call(constructor))) this.#isUnreadable = true;
    return true;
  }

  /** An object of a package can keep anything where nobody sees it. */
  #writeForeign(value: object): void {
    const text = this.#options.visitor.describeForeign(value);
    if (text === undefined) this.#setOpaque();
    else this.#add(text);
  }

  #writeProperties(value: object): void {
    this.#add('{');
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
      const { get: getter, value: field } = property as { readonly get?: unknown; readonly value?: unknown };
      this.#add(JSON.stringify(name));
      if (typeof getter === 'function') this.#writeFunction(getter);
      else this.write(field);
      if (this.#isUnreadable) return;
    }
    this.#add('}');
  }
}

/** Says whether an object is a stream or an iterator, which can be read only once. */
function isStream(value: object): boolean {
  // A start that meets no other object does not load the class.
  const isSimple = isPlain(value) || Array.isArray(value);
  if (!isSimple && (value instanceof Stream || value instanceof ReadableStream)) return true;
  return (
    'next' in value &&
    typeof value.next === 'function' &&
    (Symbol.iterator in value || Symbol.asyncIterator in value)
  );
}
