import { EtlError } from '../../errors.js';
import { send } from '../postgres/protocol.js';
import { quoteIdentifier } from '../sql/quote.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import type { Table } from './describe.js';
import { readKeyEquality } from './key-equality.js';
import { listNames } from './refuse.js';
import type { BringRows, Written } from './write-target.js';

/** A merge whose table, columns and key are checked. */
export interface Merge {
  readonly table: Table;
  readonly columns: readonly string[];
  readonly key: readonly string[];
  readonly deleteMissing: boolean;
  /** See `DescribedTarget`. */
  readonly isChecked: boolean;
}

/** A merge with the equality operator of each column of the key, as SQL writes it between two values. */
interface MergePlan extends Merge {
  readonly equality: ReadonlyMap<string, string>;
}

/** The numbers of inserted and updated rows. */
type Counts = Pick<Written, 'inserted' | 'updated'>;

/** The temporary table with the incoming rows. */
export const INCOMING_NAME = 'etl_incoming';
const INCOMING = `pg_temp.${INCOMING_NAME}`;
/** The first version in which MERGE can return which rows it inserted: PostgreSQL 17. */
const MERGE_RETURNING_VERSION = 170_000;

/**
 * Raises `work_mem` to 64 MB. With the default of 4 MB, joins of a million rows use the disk and take a quarter longer.
 */
const ENOUGH_MEMORY = `select pg_catalog.set_config('work_mem', '64MB', true) from pg_catalog.pg_settings
  where name operator(pg_catalog.=) 'work_mem' and setting::int operator(pg_catalog.<) 65536`;

/**
 * Throws `EtlError` ETL-3515 if `key` is missing, or if `columns`, the columns of the data, lack a column of the key.
 * Throws `EtlError` ETL-3516 if the table has no unique index on exactly the key, or if the merge would have to update a
 * column that is `generated always as identity`.
 */
export function assertMergeKey(
  table: Table,
  columns: readonly string[],
  key: readonly string[] | undefined,
): asserts key is readonly string[] {
  if (key === undefined || key.length === 0) {
    throw new EtlError('ETL-3515', {
      what: 'a merge needs a `key`',
      fix: 'name the columns that tell two rows apart: key: ["id"]',
    });
  }
  const absent = key.filter((name) => !columns.includes(name));
  if (absent.length > 0) {
    throw new EtlError('ETL-3515', {
      what: `the data has no column ${listNames(absent)}, which the key needs`,
      why: `the columns of the data are ${listNames(columns)}`,
    });
  }
  // Without the index, two runs could insert the same key twice, and each merge would read the whole table.
  if (!table.uniqueKeys.some((names) => isSameSet(names, key))) {
    throw new EtlError('ETL-3516', {
      what: `table ${table.sql} can't be merged by ${listNames(key)}`,
      why: 'it has no unique index on exactly these columns (a partial, deferrable or invalid index does not count)',
      fix: `create unique index on ${table.sql} (${key.map(quoteIdentifier).join(', ')})`,
    });
  }
  // UPDATE can't set such a column. A key column is never updated, because it is equal in both rows.
  const fixed = table.columns.filter(
    ({ name, isAlwaysIdentity }) => isAlwaysIdentity && columns.includes(name) && !key.includes(name),
  );
  if (fixed.length > 0) {
    throw new EtlError('ETL-3516', {
      what: `a merge can't change ${listNames(fixed.map(({ name }) => name))} of ${table.sql}`,
      why: 'the column is "generated always as identity"',
      fix: 'leave the column out of the data, or make it the key',
    });
  }
}

/** Says whether both lists have the same names, in any order. `other` can have a name twice, `one` can't. */
function isSameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.length === new Set(other).size && one.every((name) => other.includes(name));
}

/**
 * Copies the rows into a temporary table, and merges the temporary table into the real table in one statement. Throws
 * `EtlError` ETL-3517 if the key of a row is null or occurs twice.
 */
export async function merge(
  taskConnection: TaskConnection,
  given: Merge,
  copyRows: BringRows,
): Promise<Written> {
  const { table, columns, key, deleteMissing } = given;
  const plan = { ...given, equality: await readKeyEquality(taskConnection, table, key) };
  // The statements on the temporary table do not count as rows that the task wrote.
  const before = taskConnection.rows.written;
  const list = columns.map(quoteIdentifier).join(', ');
  await createIncoming(taskConnection, plan);
  await send(taskConnection, ENOUGH_MEMORY);
  const rows = await copyRows(INCOMING, list);
  // Without statistics, the planner would assume a small table.
  await send(taskConnection, `analyze ${INCOMING}`);
  await assertKeys(taskConnection, plan);
  const deleted = deleteMissing ? await deleteMissingRows(taskConnection, plan) : 0;
  const counts = await mergeRows(taskConnection, plan);
  await send(taskConnection, `drop table ${INCOMING}`);
  taskConnection.rows.written = before + counts.inserted + counts.updated + deleted;
  return { rows, ...counts, deleted };
}

/**
 * Creates the temporary table with the incoming columns and their types. With `isChecked`, the temporary table also gets
 * the `not null` and check constraints of the real table, and the key as its primary key.
 */
async function createIncoming(
  taskConnection: TaskConnection,
  { table, columns, key, isChecked }: Merge,
): Promise<void> {
  const list = columns.map(quoteIdentifier).join(', ');
  if (!isChecked) {
    await send(
      taskConnection,
      `create temporary table ${INCOMING_NAME} on commit drop as select ${list} from ${table.sql} with no data`,
    );
    return;
  }
  const absent = table.columns.filter(({ name }) => !columns.includes(name));
  const changes = [
    ...absent.map(({ name }) => `drop column ${quoteIdentifier(name)}`),
    `add primary key (${key.map(quoteIdentifier).join(', ')})`,
  ];
  await send(
    taskConnection,
    `create temporary table ${INCOMING_NAME} (like ${table.sql} including constraints) on commit drop;
     alter table ${INCOMING} ${changes.join(', ')}`,
  );
}

/**
 * Throws ETL-3517 if a key is null or occurs twice. PostgreSQL itself does not report every duplicate, and then the
 * order of the rows would decide which row is stored.
 */
async function assertKeys(taskConnection: TaskConnection, { key }: Merge): Promise<void> {
  const names = key.map(quoteIdentifier);
  const isNull = names.map((name) => `${name} is null`).join(' or ');
  const { rows } = await send(
    taskConnection,
    `select pg_catalog.json_build_array(${names.map((name) => `pg_catalog."left"(${name}::pg_catalog.text, 100)`).join(', ')}) as key
       from ${INCOMING} group by ${names.join(', ')} having pg_catalog.count(*) operator(pg_catalog.>) 1 or ${isNull} limit 1`,
  );
  const found = rows[0] as { key: readonly (string | null)[] } | undefined;
  if (found !== undefined) throw createBadKeyError(key, found.key);
}

/** Creates the error ETL-3517. `values` are the values of the bad key as text, in the order of `key`. */
function createBadKeyError(key: readonly string[], values: readonly (string | null)[]): EtlError {
  const shown = key.map((name, i) => `${name} = ${values[i] ?? 'null'}`).join(', ');
  const isNull = values.includes(null);
  return new EtlError('ETL-3517', {
    what: isNull
      ? `the key ${listNames(key)} of a row is null`
      : `a key ${listNames(key)} occurs twice in the data`,
    why: isNull
      ? 'null is never equal to null, so a later merge could not find the row'
      : 'only one of the two rows can be stored',
    fix: isNull
      ? 'give every row a key, or leave out rows without a key'
      : 'send each key once, or merge by more columns',
    rowData: shown,
  });
}

/** Deletes the rows of the table whose key is not in the data. Returns the number of deleted rows. */
async function deleteMissingRows(taskConnection: TaskConnection, plan: MergePlan): Promise<number> {
  const { rowCount } = await send(
    taskConnection,
    `delete from ${plan.table.own} as t
       where not exists (select from ${INCOMING} as i where ${formatKeyCondition(plan)})`,
  );
  return rowCount ?? 0;
}

/** Formats the condition that the rows `t` and `i` have the same key: `t."id" operator(pg_catalog.=) i."id" and …`. */
function formatKeyCondition({ key, equality }: MergePlan): string {
  return key
    .map((name) => `t.${quoteIdentifier(name)} ${equality.get(name)} i.${quoteIdentifier(name)}`)
    .join(' and ');
}

/**
 * Merges the temporary table into the real table:
 *
 * - PostgreSQL 17 and later: with MERGE, which is the faster statement. MERGE fails with 23505 (unique violation) if
 *   another transaction inserts the same key at the same time. Then the savepoint undoes the MERGE, and INSERT … ON
 *   CONFLICT runs instead. It updates the row of the other transaction, or fails with an error that the runner retries.
 * - Earlier versions: with INSERT … ON CONFLICT, because their MERGE does not tell inserted rows from updated rows.
 */
async function mergeRows(taskConnection: TaskConnection, plan: MergePlan): Promise<Counts> {
  if (plan.table.serverVersion < MERGE_RETURNING_VERSION) return runInsert(taskConnection, plan);
  await send(taskConnection, 'savepoint etl_merge');
  try {
    const counts = await runMerge(taskConnection, plan);
    await send(taskConnection, 'release savepoint etl_merge');
    return counts;
  } catch (error) {
    if (findDatabaseError(error)?.code !== '23505') throw error;
    await send(taskConnection, 'rollback to savepoint etl_merge');
    return runInsert(taskConnection, plan);
  }
}

/** Runs the MERGE statement and counts its actions. */
async function runMerge(taskConnection: TaskConnection, plan: MergePlan): Promise<Counts> {
  const { rows } = await send(
    taskConnection,
    `with done as (${buildMergeSql(plan)})
     select pg_catalog.count(*) filter (where action operator(pg_catalog.=) 'INSERT') as inserted,
       pg_catalog.count(*) filter (where action operator(pg_catalog.=) 'UPDATE') as updated from done`,
  );
  return rows[0] as Counts;
}

/**
 * Runs the INSERT … ON CONFLICT statement. Counts the new keys before it, because the server counts inserted and updated
 * rows together.
 */
async function runInsert(taskConnection: TaskConnection, plan: MergePlan): Promise<Counts> {
  const { table } = plan;
  const { rows } = await send(
    taskConnection,
    `select pg_catalog.count(*) as new from ${INCOMING} as i
       where not exists (select from ${table.own} as t where ${formatKeyCondition(plan)})`,
  );
  const { new: inserted } = rows[0] as { new: number };
  const { rowCount } = await send(taskConnection, buildInsertSql(plan));
  return { inserted, updated: (rowCount ?? 0) - inserted };
}

/** Builds the MERGE statement. It returns the action of each row. Without columns outside the key, nothing is updated. */
function buildMergeSql(plan: MergePlan): string {
  const { table, columns, key } = plan;
  const { list, set, differs, values } = buildFragments(columns, key, 'i');
  const update = set === '' ? '' : `when matched and ${differs} then update set ${set}`;
  return `merge into ${table.own} as t using ${INCOMING} as i on ${formatKeyCondition(plan)} ${update}
    when not matched then insert (${list}) overriding system value values (${values})
    returning merge_action() as action`;
}

/** Builds the INSERT … ON CONFLICT statement. Without columns outside the key, an existing row stays as it is. */
function buildInsertSql({ table, columns, key }: Merge): string {
  const { list, set, differs } = buildFragments(columns, key, 'excluded');
  const update = set === '' ? 'nothing' : `update set ${set} where ${differs}`;
  return `insert into ${table.sql} as t (${list}) overriding system value select ${list} from ${INCOMING}
    on conflict (${key.map(quoteIdentifier).join(', ')}) do ${update}`;
}

/**
 * Builds the parts that both statements have. `from` is the alias of the incoming row. For columns `id` and `name`, key
 * `id` and alias `i`:
 *
 * - `list`: `"id", "name"`
 * - `values`: `i."id", i."name"`
 * - `set`: `"name" = i."name"`; empty if all columns are in the key
 * - `differs`: `row(t."name")::record operator(pg_catalog.*<>) row(i."name")::pg_catalog.record`
 *
 * The operator `*<>` compares the stored bytes, so the condition works for every type, also for json. It also finds a
 * difference between 1.0 and 1.00.
 */
function buildFragments(columns: readonly string[], key: readonly string[], from: string) {
  const names = columns.map(quoteIdentifier);
  const others = columns.filter((name) => !key.includes(name)).map(quoteIdentifier);
  const buildRow = (table: string): string =>
    `row(${others.map((name) => `${table}.${name}`).join(', ')})::pg_catalog.record`;
  return {
    list: names.join(', '),
    values: names.map((name) => `${from}.${name}`).join(', '),
    set: others.map((name) => `${name} = ${from}.${name}`).join(', '),
    differs: `${buildRow('t')} operator(pg_catalog.*<>) ${buildRow(from)}`,
  };
}
