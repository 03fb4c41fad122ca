import { EtlError } from '../../errors.js';
import type { LedgerSchema } from './ledger.js';

/** The tables of a ledger whose rows the program writes. */
export type LedgerTable =
  'attempt' | 'lock' | 'migration' | 'run' | 'task' | 'watermark' | 'watermark_history';

/**
 * Creates ETL-4009, the error of a row that the server has not written although the statement succeeded. The cause is
 * always a change that somebody made to the table of the ledger.
 */
export function createNotWrittenError({ name }: LedgerSchema, table: LedgerTable, data?: string): EtlError {
  return new EtlError('ETL-4009', {
    what: `the server did not write a row of the table ${name}.${table}, and reported no error`,
    why: 'a trigger, a rule or row security of the table drops or changes rows',
    fix: `remove it: \\d ${name}.${table} in psql shows it, and \`etl ledger sql\` prints the table as the program creates it`,
    data,
  });
}

/** Throws ETL-4009 unless the server has written `expected` rows. */
export function assertWritten(
  written: number | null,
  expected: number,
  { schema, table }: { readonly schema: LedgerSchema; readonly table: LedgerTable },
): void {
  if (written !== expected) throw createNotWrittenError(schema, table);
}
