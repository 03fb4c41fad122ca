import type { SharedPackage } from '../../runtime/modules/shared-packages.js';

/**
 * The packages that are part of the bundle of the program and that a config may import. The program and the config
 * share one copy of each package, so an object that the config creates with knex is an object for the program too.
 *
 * `load` returns this copy and loads it at its first use. `load` has to be synchronous, so it calls `require`. The
 * bundle is a CommonJS file and has `require`; this file does not work outside of the bundle.
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

/** Returns the field `version` of the content of a package.json. */
function readVersionField(manifest: unknown): string {
  return (manifest as { version: string }).version;
}
