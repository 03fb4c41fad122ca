import { didYouMean, EtlError } from '../../errors.js';
import type { Table } from './describe.js';

/** Lists quoted names for a message: `"a", "b"`. A list of 15 names shows ten names and ends with `5 more`. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, 10).map((name) => JSON.stringify(name));
  return [...shown, ...(names.length > shown.length ? [`${names.length - shown.length} more`] : [])].join(
    ', ',
  );
}

/** Throws `EtlError` ETL-3511 if the table does not exist. */
export function assertTableExists(table: Table | undefined, name: string): asserts table is Table {
  if (table !== undefined) return;
  throw new EtlError('ETL-3511', {
    what: `there is no table ${name}`,
    fix: 'create it first, or say in which schema it is: "schema.table"',
  });
}

/**
 * Throws `EtlError` ETL-3511 if the table does not exist. Throws `EtlError` ETL-3512 if rows can't be loaded into the
 * relation with this name, such as a view.
 */
export function assertTable(table: Table | undefined, name: string): asserts table is Table {
  assertTableExists(table, name);
  if (LOADABLE.has(table.kind)) return;
  throw new EtlError('ETL-3512', {
    what: `${name} is ${table.kind === 'other' ? 'not a table' : `a ${table.kind}`}: rows can't be loaded into it`,
    fix: 'load into the underlying table',
  });
}

/** Throws `EtlError` ETL-3512 if deleting all rows would delete or change rows of other tables. */
export function assertReplaceable(table: Table): void {
  if (!table.cascadesDeletes) return;
  throw new EtlError('ETL-3512', {
    what: `the rows of ${table.sql} can't be replaced`,
    why: 'foreign keys with ON DELETE CASCADE, SET NULL or SET DEFAULT refer to it, so rows of other tables would be deleted or changed',
    fix: "use mode: 'merge' with deleteMissing: true, which deletes only the rows whose key is not in the data",
  });
}

/** Throws `EtlError` ETL-3512 if a rule changes what a DELETE does: the rows may stay, or rows of other tables change. */
export function assertDeletable(table: Table): void {
  if (!table.hasDeleteRule) return;
  throw new EtlError('ETL-3512', {
    what: `the rows of ${table.sql} can't be deleted`,
    why: 'the table has a rule ON DELETE, which changes what a DELETE does',
    fix: 'drop the rule, or use a trigger instead; or use a mode that deletes no rows',
  });
}

/** Creates the error ETL-3512 for a table that still has rows after they were deleted. */
export function createRowsLeftError(table: Table): EtlError {
  return new EtlError('ETL-3512', {
    what: `the rows of ${table.sql} can't be replaced`,
    why: 'rows are left after a DELETE, as if a trigger BEFORE DELETE has returned null',
    fix: 'change the trigger, or use `mode: "merge"`',
  });
}

/** The kinds of relations that rows can be loaded into. */
const LOADABLE: ReadonlySet<string> = new Set(['table', 'partitioned table', 'foreign table']);

/**
 * Compares `names`, the columns of the data, with the columns of the table. Throws `EtlError` ETL-3513 if the table does
 * not have a column of the data, or computes its values itself. Throws `EtlError` ETL-3514 if the data lacks a column that
 * is not null and has no default.
 */
export function assertColumns(table: Table, names: readonly string[]): void {
  const known = new Map(table.columns.map((column) => [column.name, column]));
  const unknown = names.filter((name) => !known.has(name));
  if (unknown.length > 0) throw createUnknownColumnsError(table, unknown);
  const generated = names.filter((name) => known.get(name)?.isGenerated);
  if (generated.length > 0) {
    throw new EtlError('ETL-3513', {
      what: `the data has values for ${listNames(generated)}, which table ${table.sql} computes itself`,
      fix: 'leave generated columns out of the data',
    });
  }
  const missing = table.columns
    .filter(({ notNull, hasDefault, isGenerated }) => notNull && !hasDefault && !isGenerated)
    .map(({ name }) => name)
    .filter((name) => !names.includes(name));
  if (missing.length === 0) return;
  throw new EtlError('ETL-3514', {
    what: `the data has no column ${listNames(missing)}, which table ${table.sql} needs`,
    why: 'the column is not null and has no default',
    fix: 'add the column to the data, or give the column a default in the table',
  });
}

/**
 * Creates the error ETL-3513 for columns that the table does not have. If `unknown` is one column, the message suggests a
 * similar name.
 */
function createUnknownColumnsError(table: Table, unknown: readonly string[]): EtlError {
  const known = table.columns.map(({ name }) => name);
  const [first = '', ...more] = unknown;
  return new EtlError('ETL-3513', {
    what: `table ${table.sql} does not have the column${more.length > 0 ? 's' : ''} ${listNames(unknown)}${more.length > 0 ? '' : didYouMean(first, known)}`,
    why: `its columns are ${listNames(known)}`,
    fix:
      adviseDelimiter(unknown, known) ?? 'add the column to the table, or leave the column out of the data',
  });
}

/** Advises another delimiter if the only column of the data is all names of a header: `id;name`. */
function adviseDelimiter(unknown: readonly string[], known: readonly string[]): string | undefined {
  const [only = '', ...more] = unknown;
  if (more.length > 0) return undefined;
  const delimiter = [';', '\t', '|', ','].find((each) => {
    const names = only.split(each).map((name) => name.trim().replaceAll('"', ''));
    return names.length > 1 && names.some((name) => known.includes(name));
  });
  return (
    delimiter &&
    `the file seems to be separated by ${JSON.stringify(delimiter)}: set \`csv: { delimiter: ${JSON.stringify(delimiter)} }\``
  );
}

/** Throws `EtlError` ETL-3513 if an input has other columns than the first input. The order may differ. */
export function assertSameColumns(
  columns: readonly string[],
  input: { readonly name: string; readonly columns: readonly string[] },
): void {
  const more = input.columns.filter((name) => !columns.includes(name));
  const fewer = columns.filter((name) => !input.columns.includes(name));
  if (more.length === 0 && fewer.length === 0) return;
  throw new EtlError('ETL-3513', {
    what: `"${input.name}" has other columns than the first input`,
    why: [
      ...(more.length > 0 ? [`it also has ${listNames(more)}`] : []),
      ...(fewer.length > 0 ? [`it lacks ${listNames(fewer)}`] : []),
    ].join('; '),
    fix: 'load inputs with different columns in separate tasks',
  });
}
