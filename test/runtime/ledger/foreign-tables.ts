/** Schemas `etl` of other programs, and a part of the error that names their tables. */
export const FOREIGN_TABLES: readonly {
  readonly title: string;
  readonly sql: string;
  readonly message: string;
}[] = [
  {
    title: 'a table task',
    sql: 'create schema etl create table task (id int primary key, title text)',
    message: 'etl.task has the columns id, title, and no column run_id, task_id',
  },
  {
    title: 'a view run',
    sql: 'create schema etl create view run as select 1 as id',
    message: 'etl.run has the columns id, and no column run_id',
  },
  {
    title: 'a table migration with versions',
    sql: `create schema etl create table migration (version int primary key, name text);
      insert into etl.migration values (1, 'x'), (2, 'y')`,
    message: 'etl.migration has the columns version, name, and no column applied_at',
  },
];
