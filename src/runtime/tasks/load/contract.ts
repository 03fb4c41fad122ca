import { EtlError } from '../../../errors.js';
import { send } from '../../postgres/protocol.js';
import { quoteIdentifier, quoteTable } from '../../sql/quote.js';
import { type Table, describeTable } from '../../table/describe.js';
import { listNames } from '../../table/refuse.js';
import type { TaskWork } from '../task-body.js';
import type { DataColumn } from './feed.js';
import { canFit, widenType } from './type-family.js';
import type { Row } from '../../copy/encode.js';
import type { Transform } from '../../format/transform.js';

/** What happens where the data and the table have other columns or types. */
export type SchemaContract =
  /** It is an error. */
  | 'freeze'
  /** The table gets the columns that it lacks, and wider types where values would not fit. */
  | 'evolve'
  /** Columns that the table lacks are left out. */
  | 'discard';

/** Makes the table that the data needs, and says so. */
export async function createTable(
  work: TaskWork,
  into: string,
  columns: readonly DataColumn[],
  key: readonly string[] | undefined,
): Promise<Table> {
  const lines = columns.map(({ name, type }) => `${quoteIdentifier(name)} ${type ?? 'text'}`);
  if (key !== undefined) lines.push(`primary key (${key.map(quoteIdentifier).join(', ')})`);
  await executeDefinition(work, `create table ${quoteTable(into)} (${lines.join(', ')})`);
  return describeExisting(work, into);
}

/**
 * Brings table and data together, and returns the table as it is then. Throws `EtlError` ETL-3518 for types that can't
 * fit. What `discard` leaves out does not come here.
 */
export async function applyContract(
  work: TaskWork,
  contract: SchemaContract,
  table: Table,
  columns: readonly DataColumn[],
): Promise<Table> {
  if (contract !== 'evolve') {
    assertTypes(table, columns);
    return table;
  }
  const changes = listChanges(table, columns);
  if (changes.length === 0) return table;
  await executeDefinition(work, `alter table ${table.sql} ${changes.join(', ')}`);
  return describeExisting(work, table.sql);
}

function assertTypes(table: Table, columns: readonly DataColumn[]): void {
  for (const { name, type } of columns) {
    const column = table.columns.find((each) => each.name === name);
    if (column === undefined || type === undefined || canFit(type, column.type)) continue;
    throw new EtlError('ETL-3518', {
      what: `column ${listNames([name])} of the data is ${type}, and that of table ${table.sql} is ${column.type}`,
      fix: 'change the table, transform the rows, or set `schema: "evolve"`',
    });
  }
}

function listChanges(table: Table, columns: readonly DataColumn[]): readonly string[] {
  return columns.flatMap(({ name, type, least = type }) => {
    const column = table.columns.find((each) => each.name === name);
    if (column === undefined) return [`add column ${quoteIdentifier(name)} ${type ?? 'text'}`];
    const wider = least === undefined ? undefined : widenType(column.type, least);
    return wider === undefined ? [] : [`alter column ${quoteIdentifier(name)} type ${wider}`];
  });
}

async function executeDefinition(work: TaskWork, sql: string): Promise<void> {
  work.context.log(sql);
  await send(work.taskConnection, sql);
}

async function describeExisting({ taskConnection }: TaskWork, name: string): Promise<Table> {
  const table = await describeTable(taskConnection, name);
  if (table === undefined) throw new Error(`table ${name} is not there after it was made`);
  return table;
}

/**
 * `transform`, of whose rows only these columns are kept. `left` collects the names of the others.
 */
export function createColumnFilter(
  columns: ReadonlySet<string>,
  transform: Transform | undefined,
  left: Set<string>,
): Transform {
  const pick = (row: Row): Row => {
    const picked: Record<string, unknown> = {};
    for (const name in row) {
      if (columns.has(name)) picked[name] = row[name];
      else left.add(name);
    }
    return picked;
  };
  if (transform === undefined) return pick;
  return (row) => {
    const made = transform(row);
    if (made === undefined || made === null) return made;
    return isRowList(made) ? made.map(pick) : pick(made);
  };
}

function isRowList(made: Row | readonly Row[]): made is readonly Row[] {
  return Array.isArray(made);
}
