import { EtlError } from '../../errors.js';
import { parseInstant, startOfDay, type Schedule } from './cron.js';
import { showValue } from '../json.js';

export { parseSchedule, type Schedule } from './cron.js';

/**
 * The time span `[start, end)` that a run covers: from one tick of the schedule to the next. It is never empty.
 * (In Airflow 3, `logical_date` of a cron schedule is the end.)
 */
export interface DataInterval {
  readonly start: Date;
  readonly end: Date;
  /** The same as `start`. */
  readonly logicalDate: Date;
}

/**
 * The last interval that has ended at `now`; undefined without a schedule. The first one starts at the first tick
 * at or after `startDate`. Throws `EtlError` ETL-2005 when not even that one has ended.
 */
export function findLastCompleteInterval(
  schedule: Schedule | undefined,
  now: Date,
): DataInterval | undefined {
  if (!schedule) return undefined;
  const end = schedule.tickBefore(addMillisecond(now));
  const start = end && schedule.tickBefore(end);
  if (start && !isBeforeFirst(schedule, start)) return createInterval(start, end);
  throw createNoIntervalError(schedule, 'No data interval of this Dag has ended yet');
}

/**
 * The interval that holds what `--date` says: a day, which means its first instant in the timezone of the schedule,
 * or an ISO date and time with an offset. Throws `EtlError` ETL-2005 for a text that is neither, for an interval
 * that has not ended at `now` or starts before `startDate`, and where there is no schedule.
 */
export function findIntervalContaining(
  schedule: Schedule | undefined,
  date: string,
  now: Date,
): DataInterval {
  if (!schedule) {
    throw new EtlError('ETL-2005', {
      what: `The date ${showValue(date)} selects no data interval: this Dag has no schedule`,
      fix: 'Run it without a date, or give it a `schedule`.',
    });
  }
  const start = schedule.tickBefore(addMillisecond(toInstant(date, schedule.timezone)));
  if (!start || isBeforeFirst(schedule, start)) {
    throw createNoIntervalError(
      schedule,
      `The date ${showValue(date)} is before the first data interval of this Dag`,
    );
  }
  const end = schedule.tickAfter(start);
  if (end && end <= now) return createInterval(start, end);
  throw new EtlError('ETL-2005', {
    what: `The data interval ${formatSpan(start, end)} that contains ${showValue(date)} has not ended yet`,
    fix: end && `Run it at or after ${end.toISOString()}, or choose an earlier date.`,
  });
}

function toInstant(date: string, timezone: string): Date {
  const instant = parseInstant(date, (day, time) =>
    time === undefined ? startOfDay(day, timezone) : undefined,
  );
  if (instant) return instant;
  throw new EtlError('ETL-2005', {
    what: `Expected a date such as 2026-03-05 or 2026-03-05T02:00:00Z, got ${showValue(date)}`,
    why: `A day is one that exists in ${timezone}; a time needs an offset, or Z.`,
  });
}

function createInterval(start: Date, end: Date): DataInterval {
  if (start >= end) throw new RangeError(`A data interval must not be empty: ${formatSpan(start, end)}`);
  return { start, end, logicalDate: start };
}

function isBeforeFirst(schedule: Schedule, start: Date): boolean {
  return schedule.startDate !== undefined && start < schedule.startDate;
}

function createNoIntervalError(schedule: Schedule, what: string): EtlError {
  const start = schedule.tickAfter(subtractMillisecond(schedule.startDate ?? new Date(0)));
  const end = start && schedule.tickAfter(start);
  return new EtlError('ETL-2005', {
    what,
    why: start && `Its first data interval is ${formatSpan(start, end)}.`,
    fix: end && `Run it at or after ${end.toISOString()}, or set an earlier \`startDate\`.`,
  });
}

function formatSpan(start: Date, end: Date | undefined): string {
  return `[${start.toISOString()}, ${end?.toISOString() ?? ''})`;
}

function addMillisecond(instant: Date): Date {
  return new Date(instant.getTime() + 1);
}

function subtractMillisecond(instant: Date): Date {
  return new Date(instant.getTime() - 1);
}
