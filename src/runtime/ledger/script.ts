import { MIGRATIONS } from './schema.js';
import { INSTALL_LOCK } from '../postgres/advisory-lock.js';

/**
 * The ledger as a script for `psql -f`, for a DBA to run where the role of the runs may not create schemas. It can be
 * run again, and while programs that install the schema themselves are at work.
 */
export function buildLedgerScript(): string {
  const migrations = MIGRATIONS.map(
    (ddl, index) => `-- version ${index + 1}
${ddl.trim()}

insert into etl.migration (version) values (${index + 1}) on conflict do nothing;
`,
  );
  return `-- The ledger of etl, version ${MIGRATIONS.length}. Run it in each database that tasks write to, as the role that is to own it:
--   etl ledger sql | psql -v ON_ERROR_STOP=1 -f - postgres://...
-- It can be run again: what is there is left as it is.

begin;
set local client_min_messages = warning;
do $$ begin perform pg_advisory_xact_lock(${INSTALL_LOCK}); end $$;

${migrations.join('\n')}
commit;

${GRANTS}`;
}

const GRANTS = `-- What a role needs to run Dags and to read their history; put its name in place of etl_runner.
-- grant usage on schema etl to etl_runner;
-- grant select, insert, update on etl.task, etl.run, etl.lock to etl_runner;
-- grant select, insert on etl.attempt, etl.watermark_history to etl_runner;
-- grant select, insert, update, delete on etl.watermark to etl_runner;
-- grant select on etl.migration, etl.seal to etl_runner;
`;
