import { OID, type ValueType } from '../../postgres/type-form.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import type { Table, TableColumn } from '../../table/describe.js';
import type { Feed } from './feed.js';
import { listWiderTypes, mustFit, mustFitLength } from './type-family.js';
import { type ColumnValues, acceptsValues } from './value-fit.js';

/** A column that gets another type, because the server refuses a value for its present type. */
export interface TypeChange {
  readonly name: string;
  readonly type: string;
}

/**
 * The first OID of a type that is not PostgreSQL's own (FirstNormalObjectId in src/include/access/transam.h). A domain,
 * an enum or a type of an extension has rules of the user, so the column keeps it, and COPY names the row that breaks
 * the rule.
 */
const FIRST_USER_OID = 16_384;

/**
 * Lists the columns of the table whose type has to change for the first rows of the feed. A column changes only if the
 * server refuses one of its values. Values that surely fit are not sent to the server.
 */
export async function listTypeChanges(
  taskConnection: TaskConnection,
  table: Table,
  feed: Feed,
): Promise<readonly TypeChange[]> {
  const { usesUtcDates } = taskConnection;
  const readValues = ({ name }: TableColumn, type: string, value: ValueType): ColumnValues => ({
    type,
    values: feed.sample(name, value, usesUtcDates),
  });
  const readOwn = (column: TableColumn): ColumnValues => readValues(column, column.type, column.value);
  const doubtful = table.columns.filter((column) => {
    const data = feed.columns.find(({ name }) => name === column.name);
    const type = data?.narrowest ?? data?.type;
    if (type === undefined || column.oid >= FIRST_USER_OID || mustFit(type, column.type)) return false;
    return !mustFitLength(type, column.type, readOwn(column).values);
  });
  if (doubtful.length === 0 || (await acceptsValues(taskConnection, doubtful.map(readOwn)))) return [];
  const changes: TypeChange[] = [];
  for (const column of doubtful) {
    if (await acceptsValues(taskConnection, [readOwn(column)])) continue;
    for (const type of listWiderTypes(column.type)) {
      if (!(await acceptsValues(taskConnection, [readValues(column, type, toValueType(type))]))) continue;
      changes.push({ name: column.name, type });
      break;
    }
  }
  return changes;
}

/** The OIDs of the wider types for which a value is written in another way than as text. */
const WRITTEN_OTHERWISE: ReadonlyMap<string, number> = new Map([
  ['integer', OID.int4],
  ['bigint', OID.int8],
  ['json', OID.json],
]);

/** Returns how values are written for a wider type. */
function toValueType(type: string): ValueType {
  const isArray = type.endsWith('[]');
  const item = isArray ? type.slice(0, -2) : type;
  return { oid: WRITTEN_OTHERWISE.get(item) ?? OID.text, isArray, modifier: -1 };
}
