import type { SharedPackage } from '../../runtime/modules/shared-packages.js';

/**
 * The packages of the bundle that a config may import: program and config share one copy of each. `load` calls
 * `require`, because a package is loaded at its first use, and loading has to be synchronous. So this file works only
 * in the bundle, which is a CommonJS file.
 */
export const SHARED_PACKAGES: readonly SharedPackage[] = [
  {
    name: 'knex',
    version: () => readVersionField(require('knex/package.json')),
    load: () => require('knex') as unknown,
    entry: new URL('shared/knex.cjs', import.meta.url),
  },
  {
    name: 'objection',
    version: () => readVersionField(require('objection/package.json')),
    load: () => require('objection') as unknown,
    entry: new URL('shared/objection.cjs', import.meta.url),
  },
  {
    name: 'pg',
    version: () => readVersionField(require('pg/package.json')),
    load: () => require('pg') as unknown,
    entry: new URL('shared/pg.cjs', import.meta.url),
  },
];

function readVersionField(manifest: unknown): string {
  return (manifest as { version: string }).version;
}
