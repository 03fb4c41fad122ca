import type { SharedPackage } from '../../runtime/modules/shared-packages.js';

/**
 * Packages of the bundle that a config may use. `require`, because loading has to wait for the first use and still be
 * synchronous: this file works in the bundle only.
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
