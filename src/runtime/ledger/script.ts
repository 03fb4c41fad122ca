import { INSTALL_LOCK } from '../postgres/advisory-lock.js';
import type { LedgerSchema } from './ledger.js';
import { DDL_SETTINGS, readMigration, SCHEMA_VERSION } from './schema.js';

/**
 * Builds the ledger's DDL as a script for `psql -f`. A DBA runs the script if the role of the runs may not create
 * schemas. The script can run again, and can run while programs install the schema themselves.
 */
export function buildLedgerScript(schema: LedgerSchema): string {
  // The versions are 1 to SCHEMA_VERSION.
  const migrations = Array.from({ length: SCHEMA_VERSION }, (_, index) => index + 1).map(
    (version) => `-- version ${version}
${readMigration(version, schema)}
insert into ${schema.sql}.migration (version) values (${version}) on conflict do nothing;
`,
  );
  return `-- The ledger of etl, version ${SCHEMA_VERSION}. Run this script in each database that tasks write to, as the role that will own the schema:
--   etl ledger sql | psql -v ON_ERROR_STOP=1 -f - postgres://...
-- The script can run again: it does not change what exists already.

begin;
set local client_min_messages = warning;
${DDL_SETTINGS.map((setting) => `${setting};\n`).join('')}do $$ begin perform pg_advisory_xact_lock(${INSTALL_LOCK}); end $$;

create schema if not exists ${schema.sql};

${migrations.join('\n')}
commit;

${buildGrants(schema)}`;
}

/** The end of the script: GRANT statements as comments, which the DBA edits and runs. */
function buildGrants({ sql }: LedgerSchema): string {
  return `-- The rights that a role needs to run Dags and to read their history. Replace etl_runner by the name of the role.
-- grant usage on schema ${sql} to etl_runner;
-- grant select, insert, update on ${sql}.task, ${sql}.run, ${sql}.lock to etl_runner;
-- grant select, insert on ${sql}.attempt, ${sql}.watermark_history to etl_runner;
-- grant select, insert, update, delete on ${sql}.watermark to etl_runner;
-- grant select on ${sql}.migration, ${sql}.seal to etl_runner;
`;
}
