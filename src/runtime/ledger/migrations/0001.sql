create table if not exists {schema}.migration (
  version int primary key,
  applied_at timestamptz not null default clock_timestamp()
);
comment on table {schema}.migration is 'Versions of this schema that have been applied.';

create table if not exists {schema}.seal (id int primary key);
comment on table {schema}.seal is 'Always empty. A transaction with a row that refers to this table can not be committed.';

create table if not exists {schema}.lock (
  dag_id text primary key,
  epoch bigint not null,
  holder uuid not null,
  run_id text not null,
  pid int not null,
  host text not null,
  taken_at timestamptz not null
);
comment on table {schema}.lock is 'The newest run of each Dag. A task commits only while its run has the newest epoch.';
comment on column {schema}.lock.holder is 'The process of the run: a new value for each start of the program.';

create table if not exists {schema}.run (
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
comment on table {schema}.run is 'One execution of a Dag. The state stays "running" if the process of the run died.';
comment on column {schema}.run.by_task is 'True if another scheduler starts the tasks one by one. Between two tasks no process holds the run, and the run has not crashed.';
comment on column {schema}.run.params is 'The params of the run, as the schema of the Dag returned them.';
comment on column {schema}.run.task_count is 'How many tasks the Dag had when the run was last started.';
comment on column {schema}.run.full_refresh is 'The tasks whose watermarks the run ignores; {*} for all tasks.';
comment on column {schema}.run.resumes is 'How often the run was resumed. The columns pid, host and version describe the last process.';
comment on column {schema}.run.interval_start is 'The run covers [interval_start, interval_end). Null if the Dag has no schedule.';
create index if not exists run_dag_id_started_at on {schema}.run (dag_id, started_at desc);

create table if not exists {schema}.task (
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
  seal int references {schema}.seal (id) deferrable initially deferred,
  primary key (run_id, task_id, map_key),
  check (state in ('running', 'success'))
);
comment on table {schema}.task is 'One row for each task that is done. The task writes the row in its own transaction.';
comment on column {schema}.task.map_key is 'The item of a mapped task. Empty for other tasks.';
comment on column {schema}.task.fingerprint is 'A hash of the code, the SQL and the options of the task and of its upstream.';
comment on column {schema}.task.rows is 'Rows that the statements of the task wrote, according to the command tags of the server.';
comment on column {schema}.task.xid is 'The ID of the transaction of the task.';
comment on column {schema}.task.seal is 'Not null only inside the open transaction, so that a COMMIT before the close fails.';

create table if not exists {schema}.attempt (
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
comment on table {schema}.attempt is 'Attempts that did not succeed. The rows are written after the rollback, and may be missing after a crash.';
comment on column {schema}.attempt.attempt is 'The number of the attempt, from 1 in each process of the run. 0 for a task that was not started.';
comment on column {schema}.attempt.message is 'The message of the error, or the reason of the state. Secrets are masked.';
create index if not exists attempt_run_id on {schema}.attempt (run_id, task_id);

create table if not exists {schema}.watermark (
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
comment on table {schema}.watermark is 'The last value that each incremental task has committed. The task writes the row in its own transaction.';
comment on column {schema}.watermark.name is 'The name that the task uses. For a task with the option incremental: the cursor column.';
comment on column {schema}.watermark.value is 'SQL text. For a task with the option incremental: all rows with a smaller cursor are done.';
comment on column {schema}.watermark.type is 'The SQL type of the cursor. Null if the code of the task or the command line set the value.';
comment on column {schema}.watermark.run_id is 'The run that set the value. Null if the command line set the value.';

create table if not exists {schema}.watermark_history (
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
comment on table {schema}.watermark_history is 'Each change of a watermark. Nothing depends on old rows, so they may be deleted.';
comment on column {schema}.watermark_history.value is 'The new value. Null if the watermark was cleared.';
comment on column {schema}.watermark_history.set_by is 'Who made the change: "task", or "cli" for a person on the command line.';
create index if not exists watermark_history_task_id on {schema}.watermark_history (dag_id, task_id, id);
