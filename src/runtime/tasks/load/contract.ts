import { EtlError } from '../../../errors.js';
import { qualifyType, quoteIdentifier, quoteTable } from '../../sql/quote.js';
import { lockForChange, reserveTableName, sendDefinition } from '../../table/create-once.js';
import { type Table, describeTable } from '../../table/describe.js';
import { listNames } from '../../table/refuse.js';
import type { TaskWork } from '../task-body.js';
import type { InputColumn } from '../../format/row-reader.js';
import type { Feed } from './feed.js';
import { listTypeChanges } from './type-changes.js';
import { canFit } from './type-family.js';

/** The reaction of a load to data whose columns or types differ from the columns and types of the table. */
export type SchemaContract =
  /** The load fails. */
  | 'freeze'
  /** The load adds the missing columns to the table, and widens types that are too narrow for the data. */
  | 'evolve'
  /** The load leaves out the columns that the table does not have. */
  | 'discard';

/**
 * Creates a table with the columns of the data, and with `key`, if it is defined, as its primary key. A column of
 * unknown type is `text`. Logs the statement. Returns the new table. If another task creates the table at the same time,
 * waits for the end of its transaction, and throws `EtlError` ETL-3573, which repeats the attempt.
 */
export async function createTable(
  work: TaskWork,
  into: string,
  columns: readonly InputColumn[],
  key: readonly string[] | undefined,
): Promise<Table> {
  await reserveTableName(work.taskConnection, into);
  await executeDefinition(work, into, (write) => {
    const lines = columns.map(({ name, type }) => `${quoteIdentifier(name)} ${write(type ?? 'text')}`);
    if (key !== undefined) lines.push(`primary key (${key.map(quoteIdentifier).join(', ')})`);
    return `create table ${quoteTable(into)} (${lines.join(', ')})`;
  });
  return describeExisting(work, into);
}

/**
 * Makes the table and the data agree. With `evolve`, changes the table and logs the statement. Returns the table as it
 * is afterwards. With `discard`, the feed must not have the columns that are left out.
 *
 * Throws `EtlError` ETL-3518 if no value of a column can fit the type of the table, except with `evolve`. With `evolve`,
 * throws `EtlError` ETL-3573 if another task has changed the table meanwhile, which repeats the attempt.
 */
export async function applyContract(
  work: TaskWork,
  contract: SchemaContract,
  table: Table,
  feed: Feed,
): Promise<Table> {
  if (contract !== 'evolve') {
    assertTypes(table, feed.columns);
    return table;
  }
  const known = new Set(table.columns.map(({ name }) => name));
  const added = feed.columns.filter(({ name }) => !known.has(name));
  const changed = await listTypeChanges(work.taskConnection, table, feed);
  if (added.length + changed.length === 0) return table;
  await lockForChange(work.taskConnection, table);
  await executeDefinition(work, table.sql, (write) => {
    const changes = [
      ...added.map(({ name, type }) => `add column ${quoteIdentifier(name)} ${write(type ?? 'text')}`),
      ...changed.map(({ name, type }) => `alter column ${quoteIdentifier(name)} type ${write(type)}`),
    ];
    return `alter table ${table.sql} ${changes.join(', ')}`;
  });
  return describeExisting(work, table.sql);
}

/** Throws `EtlError` ETL-3518 if no value of a column can fit the type that the table has for the column. */
function assertTypes(table: Table, columns: readonly InputColumn[]): void {
  for (const { name, type } of columns) {
    const column = table.columns.find((each) => each.name === name);
    if (column === undefined || type === undefined || canFit(type, column.type)) continue;
    throw new EtlError('ETL-3518', {
      what: `column ${listNames([name])} is ${type} in the data, but ${column.type} in table ${table.sql}`,
      fix: 'change the table, change the rows in `transform`, or set `schema: "evolve"`',
    });
  }
}

/**
 * Executes a statement that defines the table `name`, and logs it. `build` builds the statement; its argument writes a type.
 * The log has the types as people write them, and the server gets them with their schema.
 */
async function executeDefinition(
  work: TaskWork,
  name: string,
  build: (write: (type: string) => string) => string,
): Promise<void> {
  work.context.log(build((type) => type));
  await sendDefinition(work.taskConnection, build(qualifyType), name);
}

/** Describes a table that this attempt has created or changed. */
async function describeExisting({ taskConnection }: TaskWork, name: string): Promise<Table> {
  const table = await describeTable(taskConnection, name);
  if (table === undefined) throw new Error(`table ${name} does not exist after it was created or changed`);
  return table;
}
