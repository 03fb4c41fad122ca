import { fileURLToPath } from 'node:url';
import { EtlError } from '../../errors.js';
import { jitiOf } from '../modules/compile.js';
import type { Transform } from './transform.js';

/** A function in a module of its own, which can run in another thread. */
export interface TransformModule {
  /** Where the module is: a `file:` URL, of JavaScript or TypeScript. */
  readonly module: URL;
  /** The name of its export. Default `default`. */
  readonly name?: string;
}

/** Imports the function. Throws `EtlError` ETL-3559 when there is none. */
export async function importTransform({ module, name = 'default' }: TransformModule): Promise<Transform> {
  const found = (await importModule(module.href))[name];
  if (typeof found === 'function') return found as Transform;
  throw new EtlError('ETL-3559', {
    what: `the module of \`transform\` exports no function "${name}"`,
    where: module.pathname,
    fix: 'export the function, or say by `name` which export it is',
  });
}

async function importModule(url: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    if (!/\.[cm]?ts$/.test(url)) return (await import(url)) as Readonly<Record<string, unknown>>;
    return await jitiOf(fileURLToPath(url)).import(url);
  } catch (error) {
    throw new EtlError('ETL-3559', {
      what: 'the module of `transform` could not be imported',
      where: url,
      why: error instanceof Error ? error.message : String(error),
      cause: error,
    });
  }
}
