import { didYouMean, EtlError } from '../../errors.js';
import type { TableColumn, Table } from './describe.js';

/** Lists names for a message; of many, the first. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, 10).map((name) => JSON.stringify(name));
  return [...shown, ...(names.length > shown.length ? [`${names.length - shown.length} more`] : [])].join(
    ', ',
  );
}

/** Throws ETL-3511 where there is no table. */
export function assertTableExists(table: Table | undefined, name: string): asserts table is Table {
  if (table !== undefined) return;
  throw new EtlError('ETL-3511', {
    what: `there is no table ${name}`,
    fix: 'create it first, or say in which schema it is: "schema.table"',
  });
}

/** Throws ETL-3511 where there is no table, and ETL-3512 where the name is that of something else. */
export function assertTable(table: Table | undefined, name: string): asserts table is Table {
  assertTableExists(table, name);
  if (LOADABLE.has(table.kind)) return;
  throw new EtlError('ETL-3512', {
    what: `${name} is ${table.kind === 'other' ? 'not a table' : `a ${table.kind}`}: rows can't be loaded into it`,
    fix: 'load into the table behind it',
  });
}

/** Throws ETL-3512 where deleting all rows would take rows of other tables with them, also for those that come again. */
export function assertReplaceable(table: Table): void {
  if (!table.isFollowed) return;
  throw new EtlError('ETL-3512', {
    what: `the rows of ${table.sql} can't be replaced`,
    why: 'foreign keys with ON DELETE CASCADE, SET NULL or SET DEFAULT refer to it: rows of other tables would go with them',
    fix: "use mode: 'merge' with deleteMissing: true, which deletes only what does not come again",
  });
}

const LOADABLE: ReadonlySet<string> = new Set(['table', 'partitioned table', 'foreign table']);

/**
 * Throws ETL-3513 for columns that can't be sent: that the table does not have, or computes itself. Throws ETL-3514 for
 * columns that must be sent and are not.
 */
export function assertColumns(table: Table, names: readonly string[]): void {
  const known = new Map(table.columns.map((column) => [column.name, column]));
  const unknown = names.filter((name) => !known.has(name));
  if (unknown.length > 0) throw createUnknownColumnsError(table, unknown);
  const generated = names.filter((name) => known.get(name)?.isGenerated);
  if (generated.length > 0) throw createGeneratedColumnsError(table, generated);
  const sent = new Set(names);
  const missing = table.columns.filter((column) => isRequired(column) && !sent.has(column.name));
  if (missing.length > 0) throw createMissingColumnsError(table, missing);
}

function isRequired(column: TableColumn): boolean {
  return column.notNull && !column.hasDefault && !column.isGenerated;
}

function createUnknownColumnsError(table: Table, names: readonly string[]): EtlError {
  const hint =
    names.length === 1
      ? didYouMean(
          names[0] ?? '',
          table.columns.map(({ name }) => name),
        )
      : '';
  return new EtlError('ETL-3513', {
    what: `table ${table.sql} does not have the column${names.length > 1 ? 's' : ''} ${listNames(names)}${hint}`,
    why: `its columns are ${listNames(table.columns.map(({ name }) => name))}`,
    fix: 'add the column to the table, or leave it out of the data',
  });
}

function createGeneratedColumnsError(table: Table, names: readonly string[]): EtlError {
  return new EtlError('ETL-3513', {
    what: `the data has values for ${listNames(names)}, which table ${table.sql} computes itself`,
    fix: 'leave generated columns out of the data',
  });
}

function createMissingColumnsError(table: Table, columns: readonly TableColumn[]): EtlError {
  return new EtlError('ETL-3514', {
    what: `the data has no column ${listNames(columns.map(({ name }) => name))}, which table ${table.sql} needs`,
    why: 'it is not null and has no default',
    fix: 'add the column to the data, or give it a default in the table',
  });
}

/** Throws ETL-3513 where a further input has other columns than the first; their order may differ. */
export function assertSameColumns(
  columns: readonly string[],
  input: { readonly name: string; readonly columns: readonly string[] },
): void {
  const more = input.columns.filter((name) => !columns.includes(name));
  const fewer = columns.filter((name) => !input.columns.includes(name));
  if (more.length === 0 && fewer.length === 0) return;
  throw new EtlError('ETL-3513', {
    what: `"${input.name}" has other columns than the input before it`,
    why: [
      more.length > 0 ? `it has ${listNames(more)} besides` : '',
      fewer.length > 0 ? `it lacks ${listNames(fewer)}` : '',
    ]
      .filter((each) => each !== '')
      .join('; '),
    fix: 'load files with different columns in tasks of their own',
  });
}
