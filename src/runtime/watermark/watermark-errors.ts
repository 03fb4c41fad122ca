import { EtlError } from '../../errors.js';
import { formatDuration } from '../duration.js';
import { CURSOR_TYPES, type CursorType } from './cursor.js';
import { type OpenTransaction, formatHolder } from './open-transactions.js';
import type { CursorInput, IndirectKind, IndirectTable } from './cursor-origin.js';

const UNTOUCHED = 'nothing was read, and the watermark is unchanged';

/** ETL-3704: the type of the cursor does not show which rows are new. */
export function createUnusableCursorError(cursor: string, type: string): EtlError {
  return new EtlError('ETL-3704', {
    what: `the cursor "${cursor}" is of type ${type}`,
    why: `values of type ${type} do not show which rows are new`,
    fix: `choose a column of one of these types: ${CURSOR_TYPES.join(', ')}`,
    data: UNTOUCHED,
  });
}

/** ETL-3705: rows without a cursor value are in no range. */
export function createNullCursorError({ cursor, from }: CursorInput): EtlError {
  return new EtlError('ETL-3705', {
    what: `the cursor "${cursor}" is null in rows of ${from}`,
    why: 'rows without a cursor value are in no range and would never be read',
    fix: `make the column \`not null\`, or read a query with coalesce(${cursor}, …)`,
    data: UNTOUCHED,
  });
}

/** ETL-3706: the cursor is a local time, and the task names no time zone. */
export function createMissingTimeZoneError({ cursor }: CursorInput, { name }: CursorType): EtlError {
  return new EtlError('ETL-3706', {
    what: `the cursor "${cursor}" is of type ${name}, and its time zone is not given`,
    fix: `add the time zone: incremental: { cursor: '${cursor}', timeZone: 'UTC' }`,
    data: UNTOUCHED,
  });
}

/** ETL-3706: the cursor is a local time in a zone that changes its clocks. */
export function createChangingTimeZoneError(cursor: string, timeZone: string): EtlError {
  return new EtlError('ETL-3706', {
    what: `the cursor "${cursor}" has local times of the zone ${timeZone}, which puts its clocks back once a year`,
    why: 'one hour of the year comes twice, and the rows of that hour have no order',
    fix: 'use a column of the type timestamp with time zone',
    data: UNTOUCHED,
  });
}

/** ETL-3707: `lag` is a duration, and the cursor is a number. */
export function createLagOnNumbersError({ cursor }: CursorInput, { name }: CursorType): EtlError {
  return new EtlError('ETL-3707', {
    what: `\`lag\` is a duration, and the cursor "${cursor}" is of type ${name}`,
    fix: 'remove `lag`',
    data: UNTOUCHED,
  });
}

/** ETL-3708: a replica does not show which transactions are open on its primary. */
export function createReplicaError({ cursor }: CursorInput): EtlError {
  return new EtlError('ETL-3708', {
    what: `the high watermark of "${cursor}" can't be found on a replica`,
    why: 'a replica does not show which transactions are open on its primary',
    fix: 'read from the primary, or use a cursor of times and a `lag` that is longer than every transaction',
    data: UNTOUCHED,
  });
}

const INDIRECT_TABLES: Readonly<Record<IndirectKind, readonly [why: string, fix: string]>> = {
  foreign: [
    'the table is a foreign table, and the transactions that are open on its server are not visible here',
    'read the table through a connection to its server',
  ],
  materialized: [
    'the table is a materialized view, and its rows appear only when the view is refreshed',
    'read the tables behind the view',
  ],
  subscribed: [
    'the rows come through a subscription, later than their transactions wrote them',
    'read from the publisher, or use a cursor of times and a `lag` that is longer than every delay',
  ],
};

/** ETL-3712: the rows do not become visible with the transaction that wrote them. */
export function createIndirectTableError({ cursor }: CursorInput, { name, kind }: IndirectTable): EtlError {
  const [why, fix] = INDIRECT_TABLES[kind];
  return new EtlError('ETL-3712', {
    what: `the high watermark of "${cursor}" in ${name} can't be found`,
    why,
    fix,
    data: UNTOUCHED,
  });
}

/** ETL-3709: the sequence can give a greater number before a smaller one. */
export function createUnorderedSequenceError({ cursor }: CursorInput): EtlError {
  return new EtlError('ETL-3709', {
    what: `the sequence of the cursor "${cursor}" does not give its numbers in ascending order`,
    why: 'the sequence counts down, or sessions take its numbers in advance (CACHE)',
    fix: 'use a column with the time of the change, or a column of type xid8',
    data: UNTOUCHED,
  });
}

/** ETL-3710: transactions were still open after `waitMs` milliseconds. */
export function createUnknownHighWatermarkError(
  cursor: string,
  open: readonly OpenTransaction[],
  waitMs: number,
): EtlError {
  const isHidden = open.some(({ ageSeconds }) => ageSeconds === undefined);
  return new EtlError('ETL-3710', {
    what: `the high watermark of "${cursor}" was not found: a transaction did not end within ${formatDuration(waitMs)}`,
    why: open.map(formatHolder).join('\n'),
    fix: isHidden
      ? 'end the transaction, or grant pg_read_all_stats to the role of this connection, so that the role sees when a transaction began'
      : 'end the transaction, or try again later',
    data: UNTOUCHED,
  });
}
