import { EtlError } from '../../errors.js';
import { send } from '../postgres/protocol.js';
import { quoteIdentifier } from '../sql/quote.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import type { Table } from './describe.js';
import { listNames } from './refuse.js';
import type { BringRows, Written } from './write-target.js';

/** A merge whose table, columns and key fit. */
export interface Merge {
  readonly table: Table;
  readonly columns: readonly string[];
  readonly key: readonly string[];
  readonly deleteMissing: boolean;
  /** As in `DescribedTarget`. */
  readonly isChecked: boolean;
}

/** Inserted and updated rows. */
interface Counts {
  readonly inserted: number;
  readonly updated: number;
}

const INCOMING = 'pg_temp.etl_incoming';
/** MERGE can say which rows it inserted from here on. */
const MERGE_RETURNING_VERSION = 170_000;

/** With PostgreSQL's default of 4 MB the joins of a million rows go to disk: a quarter more time. */
const ENOUGH_MEMORY = `select set_config('work_mem', '64MB', true) from pg_settings where name = 'work_mem' and setting::int < 65536`;

/** Throws ETL-3515 where there is no key, and ETL-3516 where the table can't be merged by it. */
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
      what: `the data does not have ${listNames(absent)} of the key`,
      why: `its columns are ${listNames(columns)}`,
    });
  }
  if (!table.uniqueKeys.some((names) => isSameSet(names, key))) throw createNoUniqueIndexError(table, key);
  const fixed = table.columns.filter(
    ({ name, isAlwaysIdentity }) => isAlwaysIdentity && columns.includes(name) && !key.includes(name),
  );
  if (fixed.length > 0) {
    throw new EtlError('ETL-3516', {
      what: `a merge can't change ${listNames(fixed.map(({ name }) => name))} of ${table.sql}`,
      why: 'it is "generated always as identity"',
      fix: 'leave the column out of the data, or make it the key',
    });
  }
}

function isSameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.length === new Set(other).size && one.every((name) => other.includes(name));
}

/** Without the index two runs could add the same key twice, and each merge would have to read the whole table. */
function createNoUniqueIndexError(table: Table, key: readonly string[]): EtlError {
  return new EtlError('ETL-3516', {
    what: `table ${table.sql} can't be merged by ${listNames(key)}`,
    why: 'it has no unique index of just these columns (a partial, deferrable or invalid one does not count)',
    fix: `create unique index on ${table.sql} (${key.map(quoteIdentifier).join(', ')})`,
  });
}

/** Brings the rows into a temporary table, and from there into the real one in one statement. */
export async function merge(
  taskConnection: TaskConnection,
  order: Merge,
  bring: BringRows,
): Promise<Written> {
  const { columns, deleteMissing } = order;
  const before = taskConnection.rows.written;
  const list = columns.map(quoteIdentifier).join(', ');
  await createIncoming(taskConnection, order);
  await send(taskConnection, ENOUGH_MEMORY);
  const rows = await bring(INCOMING, list);
  // Without statistics the planner takes it for a small table.
  await send(taskConnection, `analyze ${INCOMING}`);
  await refuseKeys(taskConnection, order);
  const deleted = deleteMissing ? await deleteMissingRows(taskConnection, order) : 0;
  const counts = await mergeRows(taskConnection, order);
  await send(taskConnection, `drop table ${INCOMING}`);
  taskConnection.rows.written = before + counts.inserted + counts.updated + deleted;
  return { rows, ...counts, deleted };
}

/** A table with the columns that come: of their types, and with their constraints where `isChecked`. */
async function createIncoming(
  taskConnection: TaskConnection,
  { table, columns, key, isChecked }: Merge,
): Promise<void> {
  const list = columns.map(quoteIdentifier).join(', ');
  if (!isChecked) {
    await send(
      taskConnection,
      `create temporary table etl_incoming on commit drop as select ${list} from ${table.sql} with no data`,
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
    `create temporary table etl_incoming (like ${table.sql} including constraints) on commit drop;
     alter table ${INCOMING} ${changes.join(', ')}`,
  );
}

/** PostgreSQL itself would let some doubles pass, and then the order of the rows would decide. */
async function refuseKeys(taskConnection: TaskConnection, { key }: Merge): Promise<void> {
  const names = key.map(quoteIdentifier);
  const isNull = names.map((name) => `${name} is null`).join(' or ');
  const { rows } = await send(
    taskConnection,
    `select json_build_array(${names.map((name) => `left(${name}::text, 100)`).join(', ')}) as key
       from ${INCOMING} group by ${names.join(', ')} having count(*) > 1 or ${isNull} limit 1`,
  );
  const found = rows[0] as { key: readonly (string | null)[] } | undefined;
  if (found !== undefined) throw createBadKeyError(key, found.key);
}

function createBadKeyError(key: readonly string[], values: readonly (string | null)[]): EtlError {
  const shown = key.map((name, i) => `${name} = ${values[i] ?? 'null'}`).join(', ');
  const isNull = values.includes(null);
  return new EtlError('ETL-3517', {
    what: isNull ? `the key of a row is null: ${shown}` : `the key ${shown} comes twice`,
    why: isNull
      ? 'null is never equal to null, so the row could not be found again'
      : 'only one of the rows could stay',
    fix: isNull
      ? 'give every row its key, or leave such rows out'
      : 'send each key once, or merge by more columns',
  });
}

async function deleteMissingRows(taskConnection: TaskConnection, { table, key }: Merge): Promise<number> {
  const { rowCount } = await send(
    taskConnection,
    `delete from ${table.sql} as t where not exists (select from ${INCOMING} as i where ${formatKeyCondition(key)})`,
  );
  return rowCount ?? 0;
}

function formatKeyCondition(key: readonly string[]): string {
  return key.map((name) => `t.${quoteIdentifier(name)} = i.${quoteIdentifier(name)}`).join(' and ');
}

/**
 * MERGE is the faster statement, but a row that another transaction adds meanwhile makes it fail for good. Then INSERT
 * decides, which finds the row, or fails in a way that a retry cures.
 */
async function mergeRows(taskConnection: TaskConnection, order: Merge): Promise<Counts> {
  if (order.table.serverVersion < MERGE_RETURNING_VERSION) return runInsert(taskConnection, order);
  await send(taskConnection, 'savepoint etl_merge');
  try {
    const counts = await runMerge(taskConnection, order);
    await send(taskConnection, 'release savepoint etl_merge');
    return counts;
  } catch (error) {
    if (findDatabaseError(error)?.code !== '23505') throw error;
    await send(taskConnection, 'rollback to savepoint etl_merge');
    return runInsert(taskConnection, order);
  }
}

async function runMerge(taskConnection: TaskConnection, order: Merge): Promise<Counts> {
  const { rows } = await send(
    taskConnection,
    `with done as (${mergeSql(order)})
     select count(*) filter (where action = 'INSERT')::float8 as inserted,
       count(*) filter (where action = 'UPDATE')::float8 as updated from done`,
  );
  return rows[0] as Counts;
}

/** The server counts inserted and updated rows together. */
async function runInsert(taskConnection: TaskConnection, order: Merge): Promise<Counts> {
  const { table, key } = order;
  const { rows } = await send(
    taskConnection,
    `select count(*)::float8 as new from ${INCOMING} as i
       where not exists (select from ${table.sql} as t where ${formatKeyCondition(key)})`,
  );
  const { new: inserted } = rows[0] as { new: number };
  const { rowCount } = await send(taskConnection, insertSql(order));
  return { inserted, updated: (rowCount ?? 0) - inserted };
}

function mergeSql({ table, columns, key }: Merge): string {
  const { list, set, differs, values } = buildFragments(columns, key, 'i');
  const update = set === '' ? '' : `when matched and ${differs} then update set ${set}`;
  return `merge into ${table.sql} as t using ${INCOMING} as i on ${formatKeyCondition(key)} ${update}
    when not matched then insert (${list}) overriding system value values (${values})
    returning merge_action() as action`;
}

function insertSql({ table, columns, key }: Merge): string {
  const { list, set, differs } = buildFragments(columns, key, 'excluded');
  const update = set === '' ? 'nothing' : `update set ${set} where ${differs}`;
  return `insert into ${table.sql} as t (${list}) overriding system value select ${list} from ${INCOMING}
    on conflict (${key.map(quoteIdentifier).join(', ')}) do ${update}`;
}

/** `differs` compares the stored bytes: it knows every type, also json, and 1.0 is not 1.00. */
function buildFragments(columns: readonly string[], key: readonly string[], from: string) {
  const names = columns.map(quoteIdentifier);
  const others = columns.filter((name) => !key.includes(name)).map(quoteIdentifier);
  const rowOf = (table: string): string =>
    `row(${others.map((name) => `${table}.${name}`).join(', ')})::record`;
  return {
    list: names.join(', '),
    values: names.map((name) => `${from}.${name}`).join(', '),
    set: others.map((name) => `${name} = ${from}.${name}`).join(', '),
    differs: `${rowOf('t')} operator(pg_catalog.*<>) ${rowOf(from)}`,
  };
}
