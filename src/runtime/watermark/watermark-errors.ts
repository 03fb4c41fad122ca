import { EtlError } from '../../errors.js';
import { formatDuration } from '../duration.js';
import { CURSOR_TYPES, type CursorType } from './cursor.js';
import { type OpenTransaction, formatHolder } from './open-transactions.js';
import type { CursorInput, Detour, TableOrigin } from './cursor-origin.js';

const UNTOUCHED = 'nothing was read, and the watermark is where it was';

/** Its type has no order in which rows come into sight. */
export function createUnusableCursorError(cursor: string, type: string): EtlError {
  return new EtlError('ETL-3704', {
    what: `the cursor "${cursor}" is of type ${type}`,
    why: 'nothing tells up to which of its values all rows are there',
    fix: `a cursor is of type ${CURSOR_TYPES.join(', ')}`,
    data: UNTOUCHED,
  });
}

/** Rows that no range has in it. */
export function hasNulls({ cursor, from }: CursorInput): EtlError {
  return new EtlError('ETL-3705', {
    what: `there are rows without a "${cursor}" in ${from}`,
    why: 'no range of values has them in it: they would never be read',
    fix: `make the column \`not null\`, or read a query with coalesce(${cursor}, …)`,
    data: UNTOUCHED,
  });
}

/** A local time that could be anywhere. */
export function createMissingTimeZoneError({ cursor }: CursorInput, { name }: CursorType): EtlError {
  return new EtlError('ETL-3706', {
    what: `the cursor "${cursor}" is of type ${name}, and nothing says in which time zone its values are`,
    fix: `say so: incremental: { cursor: '${cursor}', timeZone: 'UTC' }`,
    data: UNTOUCHED,
  });
}

/** A local time that comes twice. */
export function createChangingTimeZoneError(cursor: string, timeZone: string): EtlError {
  return new EtlError('ETL-3706', {
    what: `the values of the cursor "${cursor}" are in the time zone ${timeZone}, whose clocks are put back once a year`,
    why: 'an hour comes twice: its rows can not be put in order',
    fix: 'use a column of the type timestamp with time zone',
    data: UNTOUCHED,
  });
}

/** A span of time for a cursor of numbers. */
export function createLagOfNumbersError({ cursor }: CursorInput, { name }: CursorType): EtlError {
  return new EtlError('ETL-3707', {
    what: `\`lag\` is a span of time, and the cursor "${cursor}" is of type ${name}`,
    fix: 'remove `lag`',
    data: UNTOUCHED,
  });
}

/** Whatever is open on the primary can't be seen. */
export function onReplica({ cursor }: CursorInput): EtlError {
  return new EtlError('ETL-3708', {
    what: `up to which "${cursor}" all rows are there can't be known on a replica`,
    why: 'it does not show which transactions are open on its primary',
    fix: 'read from the primary; or, with a cursor of times, give a `lag` that no transaction outlasts',
    data: UNTOUCHED,
  });
}

const DETOURS: Readonly<Record<Detour, readonly [why: string, fix: string]>> = {
  foreign: [
    'it is a foreign table: which transactions are open on its server can not be seen from here',
    'read it through a connection to that server',
  ],
  materialized: [
    'it is a materialized view: its rows come when it is refreshed',
    'read the tables that it is made of',
  ],
  subscribed: [
    'a subscription brings its rows: later than their transactions have made them',
    'read from the publisher; or, with a cursor of times, give a `lag` that no delay outlasts',
  ],
};

/** Rows that come into sight by another way than their own transaction. */
export function createRowsMadeElsewhereError(
  { cursor }: CursorInput,
  { name, detour }: TableOrigin,
): EtlError {
  const [why, fix] = DETOURS[detour];
  return new EtlError('ETL-3712', {
    what: `up to which "${cursor}" all rows of ${name} are there can't be known`,
    why,
    fix,
    data: UNTOUCHED,
  });
}

/** A greater number may come before a smaller one. */
export function createUnorderedSequenceError({ cursor }: CursorInput): EtlError {
  return new EtlError('ETL-3709', {
    what: `the sequence of the cursor "${cursor}" does not give its numbers in their order`,
    why: 'it counts down, or its sessions take numbers in advance (CACHE)',
    fix: 'use a column with the time of the change, or of the type xid8',
    data: UNTOUCHED,
  });
}

/** The wait for the transactions that are open is over. */
export function createUnknownHighWatermarkError(
  cursor: string,
  open: readonly OpenTransaction[],
  waitMs: number,
): EtlError {
  const isHidden = open.some(({ ageSeconds }) => ageSeconds === undefined);
  return new EtlError('ETL-3710', {
    what: `up to which "${cursor}" all rows are there is not known: a transaction did not end within ${formatDuration(waitMs)}`,
    why: open.map(formatHolder).join('\n'),
    fix: isHidden
      ? 'grant pg_read_all_stats to the role of this connection, so that it sees when a transaction began; or end what is open'
      : 'end what is open, or try again later',
    data: UNTOUCHED,
  });
}
