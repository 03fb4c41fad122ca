import { Cron } from 'croner';
import { didYouMean, EtlError } from '../../errors.js';
import { showValue } from '../json.js';

/** The schedule options of a Dag definition. */
export interface ScheduleDefinition {
  readonly schedule?: string | undefined;
  readonly timezone?: string | undefined;
  readonly startDate?: string | undefined;
}

/** A schedule that is checked. A tick is an instant at which the Dag is due. The ticks never end. */
export interface Schedule {
  /** The text of the definition: a preset or five cron fields. */
  readonly text: string;
  /** The five cron fields, separated by one space. */
  readonly expression: string;
  /** The IANA name. */
  readonly timezone: string;
  /** The earliest start of a data interval. */
  readonly startDate: Date | undefined;
  /** Returns the last tick before `instant`, excluding `instant`. */
  findTickBefore(instant: Date): Date | undefined;
  /** Returns the first tick after `instant`, excluding `instant`. */
  findTickAfter(instant: Date): Date | undefined;
}

/** Airflow's presets and their cron fields. croner itself does not know `@quarterly`. */
const PRESETS: ReadonlyMap<string, string> = new Map([
  ['@hourly', '0 * * * *'],
  ['@daily', '0 0 * * *'],
  ['@weekly', '0 0 * * 0'],
  ['@monthly', '0 0 1 * *'],
  ['@quarterly', '0 0 1 */3 *'],
  ['@yearly', '0 0 1 1 *'],
]);

/** An ISO date (group 1), with an optional time (group 2) and an optional offset after the time (group 3). */
const ISO =
  /^(\d{4}-\d\d-\d\d)(?:T((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,3})?)?)(Z|[+-](?:0\d|1[0-4]):?[0-5]\d)?)?$/;

/** More than the largest offset from UTC, which is 14 hours. */
const FURTHEST_ZONE_MS = 15 * 3_600_000;

/**
 * Checks the schedule of a Dag definition. Returns undefined for a Dag that is run only by hand: a Dag without a
 * schedule, or with `@once`, which has no second tick and therefore no interval. A `startDate` without an offset is in
 * UTC, as in Airflow.
 *
 * A clock change can skip or repeat a local time. A schedule with one time a day ticks once on such a day: after the
 * gap, or at the first of the two times. A schedule with several times a day does not tick at a skipped time, and ticks
 * at both repeated times.
 *
 * Throws `EtlError` ETL-2304 if the schedule, the timezone or the start date is not valid.
 */
export function parseSchedule(definition: ScheduleDefinition): Schedule | undefined {
  const timezone = checkTimezone(definition.timezone ?? 'UTC');
  const startDate = checkStartDate(definition.startDate);
  if (definition.schedule === undefined || definition.schedule === '@once') return undefined;
  const expression = normalizeExpression(definition.schedule);
  const cron = parseCron(definition.schedule, expression, timezone);
  const schedule: Schedule = {
    text: definition.schedule,
    expression,
    timezone,
    startDate,
    findTickBefore: (instant) => cron.previousRuns(1, instant)[0],
    findTickAfter: (instant) => cron.nextRun(instant) ?? undefined,
  };
  // A schedule such as `0 0 30 2 *` is valid for croner, but never ticks.
  if (schedule.findTickAfter(startDate ?? new Date(0))) return schedule;
  throw createBadScheduleError(definition.schedule, 'no such date exists in any year');
}

/**
 * Reads an ISO text. There are three cases:
 *
 * - A date and a time with an offset, such as `2026-03-05T02:00:00+01:00` or `2026-03-05T01:00Z`: returns this instant.
 * - A date alone, such as `2026-03-05`: returns the result of `readLocal('2026-03-05', undefined)`.
 * - A date and a time without an offset, such as `2026-03-05T02:00`: returns the result of `readLocal('2026-03-05',
 *   '02:00')`.
 *
 * Returns undefined for any other text, and for a date that does not exist. `readLocal` chooses the timezone, and
 * returns undefined for a text that it refuses.
 */
export function parseInstant(
  text: string,
  readLocal: (date: string, time: string | undefined) => Date | undefined,
): Date | undefined {
  const [, date, time, offset] = ISO.exec(text) ?? [];
  if (date === undefined || !isRealDate(date)) return undefined;
  return offset === undefined ? readLocal(date, time) : new Date(`${date}T${time}${addColon(offset)}`);
}

/**
 * Returns the first instant of a day (`2026-03-05`) in a timezone. This is not 00:00 on a day whose midnight is skipped
 * by a clock change. Returns undefined for a day that the timezone skipped.
 */
export function findStartOfDay(date: string, timezone: string): Date | undefined {
  const [, month, day] = date.split('-').map(Number);
  const midnightInUtc = new Date(`${date}T00:00Z`).getTime();
  // A cron schedule for 00:00 of this day and month ticks after the gap if 00:00 is skipped. The year is chosen by the
  // search from shortly before the day.
  const first = new Cron(`0 0 ${day} ${month} *`, { timezone }).nextRun(
    new Date(midnightInUtc - FURTHEST_ZONE_MS),
  );
  // A later tick belongs to another year: the timezone has skipped the day.
  return first && first.getTime() <= midnightInUtc + FURTHEST_ZONE_MS ? first : undefined;
}

/** Returns the timezone if it is an IANA name. Throws ETL-2304 otherwise. */
function checkTimezone(timezone: unknown): string {
  // Refuses an offset such as "+02:00": an offset has no clock changes, and older versions of Intl do not know offsets.
  if (typeof timezone === 'string' && /^[A-Za-z]/.test(timezone) && isTimezone(timezone)) return timezone;
  throw new EtlError('ETL-2304', {
    what: `expected \`timezone\` to be an IANA name such as "Europe/Berlin", got ${showValue(timezone)}${suggestTimezone(timezone)}`,
    fix: 'choose a name of the IANA database: https://en.wikipedia.org/wiki/List_of_tz_database_time_zones',
  });
}

/** Returns `; did you mean "Europe/Berlin"?` for a name that is nearly the name of a timezone, else an empty text. */
function suggestTimezone(timezone: unknown): string {
  return typeof timezone === 'string' ? didYouMean(timezone, Intl.supportedValuesOf('timeZone')) : '';
}

/** Says whether Intl knows a timezone. */
function isTimezone(name: string): boolean {
  if (name === 'UTC') return true; // Most configs use UTC, and Intl needs 20 ms to check a name.
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }) instanceof Intl.DateTimeFormat;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/**
 * Returns the instant of a start date, or undefined without one. A text without an offset is in UTC. Throws ETL-2304
 * for another text.
 */
function checkStartDate(startDate: unknown): Date | undefined {
  if (startDate === undefined) return undefined;
  const instant = typeof startDate === 'string' ? parseInstant(startDate, parseUtcDate) : undefined;
  if (instant) return instant;
  throw new EtlError('ETL-2304', {
    what: `expected \`startDate\` to be a date such as "2026-03-05", got ${showValue(startDate)}`,
    fix: 'write an existing day as YYYY-MM-DD, or with a time as 2026-03-05T02:00:00Z',
  });
}

/** Returns the instant of a date and a time in UTC. Without a time it is 00:00. */
function parseUtcDate(date: string, time = '00:00'): Date {
  return new Date(`${date}T${time}Z`);
}

/**
 * Returns five cron fields, separated by one space: `0 0 * * *` for `@daily`. Throws ETL-2304 for an unknown preset,
 * for another number of fields, and, with a reason, for notations that only other programs have.
 */
function normalizeExpression(schedule: unknown): string {
  if (typeof schedule !== 'string') throw createBadScheduleError(schedule);
  if (schedule === '@continuous')
    throw createBadScheduleError(schedule, 'etl runs once, and does not start the next run');
  if (schedule === '@reboot')
    throw createBadScheduleError(schedule, 'the start of a machine is not a time that can be planned');
  if (schedule.startsWith('@')) {
    const expression = PRESETS.get(schedule);
    if (expression !== undefined) return expression;
    const known = ['@once', ...PRESETS.keys()];
    throw createBadScheduleError(
      schedule,
      `the presets are ${known.join(', ')}${didYouMean(schedule.slice(0, 20), known)}`,
    );
  }
  const fields = schedule.trim().split(/\s+/);
  if (fields.length === 6)
    throw createBadScheduleError(schedule, 'it has 6 fields, and a schedule has no field for seconds');
  if (fields.length !== 5)
    throw createBadScheduleError(schedule, `it has ${schedule.trim() === '' ? 0 : fields.length} fields`);
  if (fields.some((field) => /^H\b/.test(field))) {
    throw createBadScheduleError(schedule, 'cron does not know the hash `H` of Jenkins');
  }
  return fields.join(' ');
}

/**
 * Parses five cron fields with croner. Throws ETL-2304 with the reason of croner. `schedule` is the text of the user,
 * for the message.
 */
function parseCron(schedule: string, expression: string, timezone: string): Cron {
  try {
    return new Cron(expression, { mode: '5-part', timezone });
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : undefined;
    throw createBadScheduleError(schedule, reason, error);
  }
}

/** Creates the error ETL-2304 for a schedule. */
function createBadScheduleError(schedule: unknown, why?: string, cause?: unknown): EtlError {
  return new EtlError('ETL-2304', {
    what: `expected \`schedule\` to be five cron fields or a preset such as "@daily", got ${showValue(schedule)}`,
    why,
    fix: 'write minute (0-59), hour (0-23), day of month (1-31), month (1-12) and day of week (0-7)',
    cause,
  });
}

/** Returns false for a date that does not exist, such as 2024-02-30, which `Date` reads as March 1. */
function isRealDate(date: string): boolean {
  const day = new Date(`${date}T00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(date);
}

/** Writes an offset such as `+0200` as `+02:00`. */
function addColon(offset: string): string {
  return /^[+-]\d{4}$/.test(offset) ? `${offset.slice(0, 3)}:${offset.slice(3)}` : offset;
}
