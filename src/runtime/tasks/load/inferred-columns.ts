import { EtlError } from '../../../errors.js';
import type { LaterValues } from '../../format/later-value.js';
import type { InputColumn } from '../../format/row-reader.js';
import type { Table } from '../../table/describe.js';
import type { TaskWork } from '../task-body.js';
import { acceptsValues } from './value-fit.js';

/** The columns that a load has created, and what it does with the rows that the server refuses. */
export interface CreatedColumns {
  /** The table as it was before the load. Undefined if the load has created the table. */
  readonly before: Table | undefined;
  readonly columns: readonly InputColumn[];
  /** True if the rows that the server refuses are put aside. */
  readonly hasRejects: boolean;
}

/**
 * Returns the check of the later values of the columns whose types the load has inferred. The server would store `007` as
 * 7 in such a column. Returns undefined if there is no such column.
 *
 * The check throws `EtlError` ETL-3519. With rejects, it asks the server about the value first, and lets a value pass that
 * the server refuses: then the row is put aside.
 */
export function createLaterCheck(work: TaskWork, created: CreatedColumns): LaterValues | undefined {
  const { before, columns, hasRejects } = created;
  const known = new Set(before?.columns.map(({ name }) => name));
  const inferred = columns.flatMap(({ name, type, isNamed = false }) =>
    type === undefined || isNamed || known.has(name) ? [] : [{ name, type }],
  );
  if (inferred.length === 0) return undefined;
  return {
    columns: inferred,
    refuse: async ({ name, type, text, where }) => {
      if (hasRejects && !(await acceptsValues(work.taskConnection, [{ type, values: [text] }]))) return;
      throw new EtlError('ETL-3519', {
        what: `a value of column "${name}" is not written like the values in the first rows, from which its type ${type} was inferred`,
        where,
        why: 'the server would refuse the value, or store it in another form, as it stores 007 as 7',
        fix: `${before === undefined ? 'create the table' : 'add the column'} yourself before the load, with the type that the column must have: text keeps every value as it is written`,
        rowData: `${name}: ${text}`,
      });
    },
  };
}
