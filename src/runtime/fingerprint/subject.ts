import type { Closure } from './closure.js';
import { hash } from './hash.js';
import type { GraphModule } from './module-graph.js';
import type { Binding } from './module-model.js';

/** Modules of Node.js that read nothing from outside. */
const PURE: ReadonlySet<string> = new Set([
  'assert',
  'buffer',
  'console',
  'events',
  'module',
  'path',
  'process',
  'querystring',
  'stream',
  'string_decoder',
  'timers',
  'url',
  'util',
  'zlib',
  'async_hooks',
  'diagnostics_channel',
  'perf_hooks',
]);

/** Names a variable in messages. */
export function getSubject(
  { name, noun }: Binding,
  path: readonly string[],
  { name: file }: GraphModule,
): string {
  return `the ${noun} "${[name, ...path].join('.')}" in ${file}`;
}

/** Hashes the texts of a declaration and of what changes it later. */
export function hashPieces({ pieces, changes }: Binding, { model }: GraphModule): string {
  return hash([...pieces, ...changes].map((each) => model.pieces[each]?.hash ?? '').join(' '));
}

/** Says whether a module of Node.js reads nothing from outside of the process. */
export function isPure(name: string): boolean {
  return PURE.has(name.split('/')[0] ?? '');
}

/** Lists the variables around a function. */
export function listVariables(closure: Closure | undefined): [string, unknown][] {
  return closure?.scopes.flatMap((scope) => Object.entries(scope)) ?? [];
}
