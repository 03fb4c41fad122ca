import { EtlError } from '../../errors.js';
import { parseInstant, findStartOfDay, type Schedule } from './cron.js';
import { showValue } from '../json.js';
import { formatInterval, formatTime } from './zone-time.js';

export { parseSchedule, type Schedule } from './cron.js';

/**
 * The time span `[start, end)` that a run covers, from one tick of the schedule to the next tick. A data interval is
 * never empty.
 */
export interface DataInterval {
  /** The start, which is part of the interval. */
  readonly start: Date;
  /** The end, which is not part of the interval. */
  readonly end: Date;
  /** The same as `start`. In Airflow 3, `logical_date` of a cron schedule is the end of the interval. */
  readonly logicalDate: Date;
}

/**
 * Returns the last interval that has ended at `now`, or undefined if the Dag has no schedule. The first interval starts
 * at the first tick at or after `startDate`. Throws `EtlError` ETL-2005 if no interval has ended at `now`.
 */
export function findLastCompleteInterval(
  schedule: Schedule | undefined,
  now: Date,
): DataInterval | undefined {
  if (!schedule) return undefined;
  // A tick at `now` itself also counts, so the search begins 1 ms later.
  const end = schedule.findTickBefore(addMilliseconds(now, 1));
  const start = end && schedule.findTickBefore(end);
  if (start && !isBeforeFirst(schedule, start)) return createInterval(start, end);
  throw createNoIntervalError(schedule, 'no data interval of the Dag has ended yet');
}

/**
 * Returns the interval that contains `date`, the value of `--date`. `date` is a day, or an ISO date and time with an
 * offset. A day means the first instant of the day in the timezone of the schedule.
 *
 * Throws `EtlError` ETL-2005 if `date` is another text, if the interval has not ended at `now` or starts before
 * `startDate`, and if the Dag has no schedule.
 */
export function findIntervalContaining(
  schedule: Schedule | undefined,
  date: string,
  now: Date,
): DataInterval {
  if (!schedule) {
    throw new EtlError('ETL-2005', {
      what: `the date ${showValue(date)} selects no data interval, because the Dag has no schedule`,
      fix: 'run the Dag without a date, or give the Dag a `schedule`',
    });
  }
  // A tick at the date itself starts the interval, so the search begins 1 ms later.
  const start = schedule.findTickBefore(addMilliseconds(toInstant(date, schedule.timezone), 1));
  if (!start || isBeforeFirst(schedule, start)) {
    throw createNoIntervalError(
      schedule,
      `the date ${showValue(date)} is before the first data interval of the Dag`,
    );
  }
  const end = schedule.findTickAfter(start);
  if (end && end <= now) return createInterval(start, end);
  throw new EtlError('ETL-2005', {
    what: `the data interval ${formatSpan(schedule, start, end)} that contains ${showValue(date)} has not ended yet`,
    fix: end && `run the Dag at or after ${end.toISOString()}, or choose an earlier date`,
  });
}

/**
 * Returns the instant of a date from the command line: a day means its first instant in the timezone, and a time needs
 * an offset. Throws ETL-2005 for another text.
 */
function toInstant(date: string, timezone: string): Date {
  const instant = parseInstant(date, (day, time) =>
    time === undefined ? findStartOfDay(day, timezone) : undefined,
  );
  if (instant) return instant;
  throw new EtlError('ETL-2005', {
    what: `expected a date such as 2026-03-05 or 2026-03-05T02:00:00Z, got ${showValue(date)}`,
    why: `a day must exist in ${timezone}, and a time needs an offset or Z`,
  });
}

/** Returns the interval. Throws a `RangeError` if it would be empty, which is a fault of this program. */
function createInterval(start: Date, end: Date): DataInterval {
  if (start >= end)
    throw new RangeError(`a data interval must not be empty: ${formatInterval({ start, end }, 'UTC')}`);
  return { start, end, logicalDate: start };
}

/** Says whether an interval with this start is before the `startDate` of the Dag. */
function isBeforeFirst(schedule: Schedule, start: Date): boolean {
  return schedule.startDate !== undefined && start < schedule.startDate;
}

/**
 * Creates the error ETL-2005, which names the first data interval of the Dag, and the time from which on it can run.
 */
function createNoIntervalError(schedule: Schedule, what: string): EtlError {
  const start = schedule.findTickAfter(addMilliseconds(schedule.startDate ?? new Date(0), -1));
  const end = start && schedule.findTickAfter(start);
  return new EtlError('ETL-2005', {
    what,
    why: start && `the first data interval of the Dag is ${formatSpan(schedule, start, end)}`,
    fix: end && `run the Dag at or after ${end.toISOString()}, or set an earlier \`startDate\``,
  });
}

/** Writes a span for messages, in the time zone of the schedule. */
function formatSpan({ timezone }: Schedule, start: Date, end: Date | undefined): string {
  return end === undefined
    ? `that starts at ${formatTime(start, timezone)} ${timezone}`
    : formatInterval({ start, end }, timezone);
}

function addMilliseconds(instant: Date, ms: number): Date {
  return new Date(instant.getTime() + ms);
}
