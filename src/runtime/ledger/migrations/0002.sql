alter table {schema}.attempt add column if not exists error jsonb;
comment on column {schema}.attempt.error is 'The error as "etl run --json" prints it, with its causes. Contains no values of rows. Null if there was no error.';

alter table {schema}.attempt add column if not exists row_data text;
comment on column {schema}.attempt.row_data is 'Values of rows that explain the error. Null unless the config or the command line allows row data (showData).';
