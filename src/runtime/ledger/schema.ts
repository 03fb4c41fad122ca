import { EtlError } from '../../errors.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { BRIEF } from '../postgres/transaction.js';
import { INSTALL_LOCK } from '../postgres/advisory-lock.js';

/**
 * The ledger's DDL, one entry a version, never edited once released. Plain tables with documented columns: people
 * query them. `if not exists` throughout, so that a DBA can run it by hand for a role that can't create schemas.
 */
export const MIGRATIONS: readonly string[] = [
  `
create schema if not exists etl;

create table if not exists etl.migration (
  version int primary key,
  applied_at timestamptz not null default clock_timestamp()
);
comment on table etl.migration is 'Versions of the schema etl that have been applied.';

create table if not exists etl.seal (id int primary key);
comment on table etl.seal is 'Empty for ever. A row that refers to it can not be committed.';

create table if not exists etl.lock (
  dag_id text primary key,
  epoch bigint not null,
  holder uuid not null,
  run_id text not null,
  pid int not null,
  host text not null,
  taken_at timestamptz not null
);
comment on table etl.lock is 'The newest run of each Dag. A task commits only while its run has the newest epoch.';
comment on column etl.lock.holder is 'The process that runs it: new for every start of the program.';

create table if not exists etl.run (
  run_id text primary key,
  dag_id text not null,
  state text not null,
  interval_start timestamptz,
  interval_end timestamptz,
  params jsonb not null,
  task_count int not null,
  full_refresh text[] not null default '{}',
  resumes int not null default 0,
  pid int not null,
  host text not null,
  version text not null,
  by_task boolean not null default false,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  check (state in ('running', 'success', 'failed'))
);
comment on table etl.run is 'One execution of a Dag. It stays "running" when its process died.';
comment on column etl.run.by_task is 'Its tasks are started one by one, by another scheduler: between them it is nobody''s, and not crashed.';
comment on column etl.run.params is 'What the schema of the Dag made of the params that were given.';
comment on column etl.run.task_count is 'How many tasks the Dag had when the run was last started.';
comment on column etl.run.full_refresh is 'The tasks whose watermarks the run disregards; {*} for all of them.';
comment on column etl.run.resumes is 'How often the run was resumed; pid, host and version are those of the last process.';
comment on column etl.run.interval_start is 'The run covers [interval_start, interval_end); null without a schedule.';
create index if not exists run_dag_id_started_at on etl.run (dag_id, started_at desc);

create table if not exists etl.task (
  run_id text not null,
  task_id text not null,
  map_key text not null default '',
  dag_id text not null,
  state text not null,
  fingerprint text not null,
  attempt int not null,
  result jsonb,
  rows bigint,
  pid int,
  xid text,
  started_at timestamptz not null,
  committed_at timestamptz,
  seal int references etl.seal (id) deferrable initially deferred,
  primary key (run_id, task_id, map_key),
  check (state in ('running', 'success'))
);
comment on table etl.task is 'One row for each task that is done, written in the transaction of the task itself.';
comment on column etl.task.map_key is 'The item of a mapped task; empty for any other.';
comment on column etl.task.fingerprint is 'What the task did: its code, its SQL, its options, and those of its upstream.';
comment on column etl.task.rows is 'Rows written by the task''s statements, by the command tags of the server.';
comment on column etl.task.xid is 'The transaction that did the task.';
comment on column etl.task.seal is 'Not null only inside the open transaction: a COMMIT before the close fails.';

create table if not exists etl.attempt (
  id bigint generated always as identity primary key,
  run_id text not null,
  task_id text not null,
  map_key text not null default '',
  attempt int not null,
  state text not null,
  code text,
  sqlstate text,
  message text,
  started_at timestamptz not null,
  finished_at timestamptz not null default clock_timestamp(),
  check (state in ('up_for_retry', 'failed', 'skipped', 'upstream_failed'))
);
comment on table etl.attempt is 'Attempts that did not succeed, written after they were rolled back: a best effort.';
comment on column etl.attempt.attempt is 'From 1 in each process of the run; 0 for a task that was not started.';
comment on column etl.attempt.message is 'Of the error, or the reason of the state; secrets are masked.';
create index if not exists attempt_run_id on etl.attempt (run_id, task_id);

create table if not exists etl.watermark (
  dag_id text not null,
  task_id text not null,
  map_key text not null default '',
  name text not null,
  value text not null,
  type text,
  run_id text,
  set_at timestamptz not null,
  primary key (dag_id, task_id, map_key, name)
);
comment on table etl.watermark is 'How far each incremental task has come, written in the transaction of the task itself.';
comment on column etl.watermark.name is 'What the task calls it; the cursor column of a task with the option incremental.';
comment on column etl.watermark.value is 'SQL text. Of an incremental task: all rows whose cursor is less are done.';
comment on column etl.watermark.type is 'The SQL type of the cursor; null for a value of the task''s own, or of the command line.';
comment on column etl.watermark.run_id is 'The run that set it; null when it was set on the command line.';

create table if not exists etl.watermark_history (
  id bigint generated always as identity primary key,
  dag_id text not null,
  task_id text not null,
  map_key text not null default '',
  name text not null,
  value text,
  type text,
  run_id text,
  set_by text not null,
  set_at timestamptz not null default clock_timestamp(),
  check (set_by in ('task', 'cli'))
);
comment on table etl.watermark_history is 'Every change of a watermark. Nothing reads old rows: they may be deleted.';
comment on column etl.watermark_history.value is 'Null: it was cleared.';
comment on column etl.watermark_history.set_by is 'A task, or a person on the command line.';
create index if not exists watermark_history_task_id on etl.watermark_history (dag_id, task_id, id);
`,
];

// Not to_regclass(): it may answer from a cache of before the lock that another installer has just given up.
const IS_INSTALLED = `select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'etl' and c.relname = 'migration') as installed`;

const READ_VERSION = 'select coalesce(max(version), 0) as version from etl.migration';

/** The version of the schema `etl` in a database: 0 where it isn't there. */
export async function readVersion(client: ProtocolClient): Promise<number> {
  const { rows } = await send(client, IS_INSTALLED);
  if (rows[0]?.installed !== true) return 0;
  const { rows: versions } = await send(client, READ_VERSION);
  return Number(versions[0]?.version);
}

/**
 * Brings the schema `etl` to this program's version, each migration in a transaction of its own. Many installers at
 * once are fine. Changes nothing where it is current, so that a role without the right to create schemas can run.
 * Throws `EtlError` when the schema is newer than the program.
 */
export async function migrate(client: ProtocolClient, databaseName: string): Promise<void> {
  let version = await readVersionAtOnce(client);
  while (version < MIGRATIONS.length) {
    await install(client, version + 1);
    version = await readVersion(client);
  }
  if (version > MIGRATIONS.length) throw createNewerSchemaError(databaseName, version);
}

/** For a schema that is there, as it is for all runs but the first: one question instead of two. */
async function readVersionAtOnce(client: ProtocolClient): Promise<number> {
  try {
    const { rows } = await send(client, READ_VERSION);
    return Number(rows[0]?.version);
  } catch (error) {
    if (isNotInstalled(error)) return 0;
    throw error;
  }
}

/** True when the server has said that there is no such table, or no such schema. */
export function isNotInstalled(error: unknown): boolean {
  const code = findDatabaseError(error)?.code;
  return code === '42P01' || code === '3F000';
}

async function install(client: ProtocolClient, version: number): Promise<void> {
  await send(
    client,
    [
      'begin',
      `set local lock_timeout = '60s'`,
      ...BRIEF,
      `select pg_advisory_xact_lock(${INSTALL_LOCK})`,
    ].join('; '),
  );
  try {
    // Another installer may have been first while this one waited for the lock.
    if ((await readVersion(client)) < version) {
      await send(client, MIGRATIONS[version - 1] ?? '');
      await send(client, 'insert into etl.migration (version) values ($1)', [version]);
    }
    await send(client, 'commit');
  } catch (error) {
    // The cause comes first: a rollback that fails as well only says that the connection is gone.
    await send(client, 'rollback').catch(() => undefined);
    throw error;
  }
}

function createNewerSchemaError(databaseName: string, version: number): EtlError {
  return new EtlError('ETL-4001', {
    what: `the schema "etl" in ${databaseName} has version ${version}; this program knows versions up to ${MIGRATIONS.length}`,
    why: 'a newer release of etl has worked on this database',
    fix: 'update @oneshot/etl here as well',
    data: 'nothing was started',
  });
}
