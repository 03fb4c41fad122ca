import { readMigration, SCHEMA_VERSION } from './schema.js';
import { INSTALL_LOCK } from '../postgres/advisory-lock.js';

/**
 * Builds the ledger's DDL as a script for `psql -f`. A DBA runs the script if the role of the runs may not create
 * schemas. The script can run again, and can run while programs install the schema themselves.
 */
export function buildLedgerScript(): string {
  // The versions are 1 to SCHEMA_VERSION.
  const migrations = Array.from({ length: SCHEMA_VERSION }, (_, index) => index + 1).map(
    (version) => `-- version ${version}
${readMigration(version)}
insert into etl.migration (version) values (${version}) on conflict do nothing;
`,
  );
  return `-- The ledger of etl, version ${SCHEMA_VERSION}. Run this script in each database that tasks write to, as the role that will own the schema:
--   etl ledger sql | psql -v ON_ERROR_STOP=1 -f - postgres://...
-- The script can run again: it does not change what exists already.

begin;
set local client_min_messages = warning;
do $$ begin perform pg_advisory_xact_lock(${INSTALL_LOCK}); end $$;

${migrations.join('\n')}
commit;

${GRANTS}`;
}

/** The end of the script: GRANT statements as comments, which the DBA edits and runs. */
const GRANTS = `-- The rights that a role needs to run Dags and to read their history. Replace etl_runner by the name of the role.
-- grant usage on schema etl to etl_runner;
-- grant select, insert, update on etl.task, etl.run, etl.lock to etl_runner;
-- grant select, insert on etl.attempt, etl.watermark_history to etl_runner;
-- grant select, insert, update, delete on etl.watermark to etl_runner;
-- grant select on etl.migration, etl.seal to etl_runner;
`;
