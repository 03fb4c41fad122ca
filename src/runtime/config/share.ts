import { createRequire, register } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** Our public module: what configs import, and the URL of the instance that runs. */
export interface Api {
  /** `@oneshot/etl` */
  readonly name: string;
  readonly entry: URL;
}

type Resolve = (
  specifier: string,
  context: { readonly parentURL?: string },
  next: (specifier: string, context: object) => unknown,
) => unknown;

/** Since Node 22.15: hooks in this thread, for `import` and `require`. */
interface SyncHooks {
  readonly registerHooks?: (hooks: { readonly resolve: Resolve }) => unknown;
}

/** Packages of ours that a config may use without installing them; one that it has installed wins. */
const LENT = ['knex', 'objection', 'pg'];

const require = createRequire(import.meta.url);

/** The directory of the program. */
const OWN = new URL('../../', import.meta.url).href;

/**
 * The modules that a config shares with the program, for jiti's `virtualModules`. A Dag that another copy of our
 * package made is no Dag here, so one instance has to be the only one, wherever the config lies and whatever is
 * installed beside it.
 *
 * jiti's `alias` can't do that: a file outside of `node_modules`, or one that is required, is transformed into a second
 * copy. A virtual module is the very object that is given, for `import` and `require`, in every file that jiti
 * transforms. What jiti hands to Node as it is (`.mjs`, `.cjs`, and `.js` in a package of type "module") does not ask
 * jiti any more, so Node is told the same names, unless it finds the same instance by itself. Before Node 22.15 it can
 * be told for `import` only: a `.cjs` file then fails to require our package where that is not installed, and jiti runs
 * it again as transformed code.
 */
export async function sharedModules(config: string, { name, entry }: Api): Promise<Record<string, unknown>> {
  const resolve = resolverOf(config);
  const lent = LENT.filter((each) => resolve(each) === undefined);
  const urls = Object.fromEntries(lent.map((each) => [each, pathToFileURL(require.resolve(each)).href]));
  const isFoundByNode = resolve(name) === fileURLToPath(entry) && lent.length === 0;
  if (!isFoundByNode) tellNode({ urls: { ...urls, [name]: entry.href }, own: OWN });

  const modules: Record<string, unknown> = { [name]: await import(entry.href) };
  // Getters, because most configs use none of them, and loading all three takes a quarter of a second.
  for (const each of lent) Object.defineProperty(modules, each, { get: () => require(each) as unknown });
  return modules;
}

/** What Node resolves a name to from `config`, or undefined where it finds nothing. */
function resolverOf(config: string): (name: string) => string | undefined {
  const beside = createRequire(config);
  return (name) => {
    try {
      return beside.resolve(name);
    } catch {
      return undefined;
    }
  };
}

interface Told {
  /** By the name that is imported. */
  readonly urls: Readonly<Record<string, string>>;
  /** The program's own files find their own packages. */
  readonly own: string;
}

/** Makes Node resolve names to URLs, for every file outside of `node_modules` and of `own`, until the process ends. */
function tellNode(told: Told): void {
  const { registerHooks }: SyncHooks = require('node:module');
  if (registerHooks === undefined) {
    register(`data:text/javascript,${encodeURIComponent(THREAD_HOOKS)}`, { data: told });
    return;
  }
  registerHooks({
    resolve: (specifier, context, next) => {
      const parent = context.parentURL ?? '';
      const isOurs = parent.includes('/node_modules/') || parent.startsWith(told.own);
      const url = isOurs ? undefined : told.urls[specifier];
      return url === undefined ? next(specifier, context) : { url, shortCircuit: true };
    },
  });
}

/** The same hook for older versions of Node, which run it in a thread of its own. */
const THREAD_HOOKS = `
let told;
export function initialize(data) { told = data; }
export function resolve(specifier, context, next) {
  const parent = context.parentURL ?? '';
  const isOurs = parent.includes('/node_modules/') || parent.startsWith(told.own);
  const url = isOurs ? undefined : told.urls[specifier];
  return url === undefined ? next(specifier, context) : { url, shortCircuit: true };
}`;
