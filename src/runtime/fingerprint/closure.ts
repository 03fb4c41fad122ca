import type * as inspector from 'node:inspector';
import { createRequire } from 'node:module';

/** The facts about a function that V8's inspector returns. */
export interface Closure {
  /** The variables around the function, from the innermost scope outward, without the globals. */
  readonly scopes: readonly Readonly<Record<string, unknown>>[];
  /** The position of the function in its script. Line and column count from 0. */
  readonly position: { readonly line: number; readonly column: number } | undefined;
  /** The function that a bound function calls, with `this` and the first arguments. */
  readonly bound: readonly unknown[] | undefined;
}

interface RemoteProperty {
  readonly name: string;
  readonly value?: { readonly objectId?: string; readonly value?: unknown };
}

const require = createRequire(import.meta.url);

/** The property of `globalThis` by which values go to the inspector and come back. It is set only for a moment. */
const KEY = '@oneshot/etl closure';
const GET = `globalThis[Symbol.for(${JSON.stringify(KEY)})]`;

/**
 * Reads the variables that a function uses from the code around it. JavaScript itself can't: the inspector of Node.js
 * can, in this process and without a debugger. The first read takes about 3 ms, each further read 0.1 ms.
 */
export class ClosureReader {
  #session: inspector.Session | undefined;
  /** True if this process has no inspector, for example because of the permission model of Node.js. */
  #isMissing = false;
  readonly #known = new WeakMap<object, Closure>();

  /** Ends the connection to the inspector. The next `read` begins another. */
  close(): void {
    this.#session?.disconnect();
    this.#session = undefined;
  }

  /** Reads what V8 knows about a function. Returns undefined without an inspector. */
  read(target: CallableFunction): Closure | undefined {
    const known = this.#known.get(target);
    if (known !== undefined || !this.#open()) return known;
    const closure = this.#read(target);
    this.#known.set(target, closure);
    return closure;
  }

  /** Connects to the inspector. Returns false if the process has none. */
  #open(): boolean {
    if (this.#session !== undefined || this.#isMissing) return !this.#isMissing;
    try {
      const { Session: InspectorSession } = require('node:inspector') as typeof inspector;
      const session = new InspectorSession();
      session.connect();
      this.#session = session;
    } catch {
      this.#isMissing = true;
    }
    return !this.#isMissing;
  }

  #read(target: CallableFunction): Closure {
    const store = globalThis as unknown as Record<symbol, { target: unknown; values: unknown }>;
    const key = Symbol.for(KEY);
    const exchange = { target: target as unknown, values: undefined as unknown };
    store[key] = exchange;
    try {
      const id = this.#getId(this.#post('Runtime.evaluate', { expression: `${GET}.target` })['result']);
      const properties = this.#getInternalProperties(id);
      const get = (name: string): unknown => {
        const found = properties.find((each) => each.name === name)?.value;
        return found?.objectId === undefined ? found?.value : this.#take(found.objectId, exchange);
      };
      const bound = get('[[TargetFunction]]');
      const values = get('[[BoundArgs]]') as ArrayLike<unknown> | undefined;
      const location = properties.find(({ name }) => name === '[[FunctionLocation]]')?.value?.value as
        { lineNumber: number; columnNumber: number } | undefined;
      return {
        scopes: toScopes(get('[[Scopes]]') as ArrayLike<unknown> | undefined),
        position: location && { line: location.lineNumber, column: location.columnNumber },
        bound: bound === undefined ? undefined : [bound, get('[[BoundThis]]'), ...Array.from(values ?? [])],
      };
    } finally {
      Reflect.deleteProperty(store, key);
      this.#post('Runtime.releaseObjectGroup', { objectGroup: KEY });
    }
  }

  /** Returns the value that the inspector knows by an ID. */
  #take(objectId: string, exchange: { values: unknown }): unknown {
    exchange.values = undefined;
    this.#post('Runtime.callFunctionOn', {
      objectId,
      functionDeclaration: `function () { ${GET}.values = this; }`,
    });
    return exchange.values;
  }

  #getInternalProperties(objectId: string): readonly RemoteProperty[] {
    const answer = this.#post('Runtime.getProperties', { objectId, ownProperties: true });
    return (answer['internalProperties'] as readonly RemoteProperty[] | undefined) ?? [];
  }

  #getId(value: unknown): string {
    return (value as { objectId: string }).objectId;
  }

  /** Calls a method of the inspector. In the thread of the session, it answers at once. */
  #post(method: string, params: object): Readonly<Record<string, unknown>> {
    let answer: object | undefined;
    this.#session?.post(method, { ...params, objectGroup: KEY }, (error, result) => {
      if (error) throw new Error(`the inspector of Node.js refused ${method}: ${error.message}`);
      answer = result as object;
    });
    return (answer ?? {}) as Readonly<Record<string, unknown>>;
  }
}

/** Returns the variables of the scopes. V8 gives each scope as an object, and the global object last. */
function toScopes(list: ArrayLike<unknown> | undefined): Closure['scopes'] {
  const scopes = Array.from(list ?? [], (each) => (each as { object?: Record<string, unknown> }).object);
  return scopes.filter(
    (each): each is Record<string, unknown> => typeof each === 'object' && !('globalThis' in each),
  );
}
