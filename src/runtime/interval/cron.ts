import { Cron } from 'croner';
import { didYouMean, EtlError } from '../../errors.js';
import { showValue } from '../json.js';

/** When a Dag is due, as its definition says it. */
export interface ScheduleDefinition {
  readonly schedule?: string | undefined;
  readonly timezone?: string | undefined;
  readonly startDate?: string | undefined;
}

/** A schedule that has been checked: it has ticks, for ever. */
export interface Schedule {
  /** As it was written, a preset or five fields. */
  readonly text: string;
  /** Five cron fields. */
  readonly expression: string;
  /** An IANA name. */
  readonly timezone: string;
  /** No interval starts before it. */
  readonly startDate: Date | undefined;
  /** The last tick before `instant`, which is not one itself. */
  tickBefore(instant: Date): Date | undefined;
  /** The first tick after `instant`, which is not one itself. */
  tickAfter(instant: Date): Date | undefined;
}

/** Airflow's presets; croner does not know `@quarterly`. */
const PRESETS: ReadonlyMap<string, string> = new Map([
  ['@hourly', '0 * * * *'],
  ['@daily', '0 0 * * *'],
  ['@weekly', '0 0 * * 0'],
  ['@monthly', '0 0 1 * *'],
  ['@quarterly', '0 0 1 */3 *'],
  ['@yearly', '0 0 1 1 *'],
]);

const ISO =
  /^(\d{4}-\d\d-\d\d)(?:T((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,3})?)?)(Z|[+-](?:0\d|1[0-4]):?[0-5]\d)?)?$/;

/** No local time is further from UTC than 14 hours. */
const FURTHEST_ZONE_MS = 15 * 3_600_000;

/**
 * Checks a schedule when its Dag is defined. Undefined for a Dag that is only run by hand: without a schedule, or
 * with `@once`, which has no second tick and so no interval. A `startDate` without an offset is in UTC, as in
 * Airflow. A time that a clock change skips or repeats ticks once, after the gap or at the first of the two; a
 * schedule with more than one time a day skips it, or ticks at both. Throws `EtlError` ETL-2304.
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
    tickBefore: (instant) => cron.previousRuns(1, instant)[0],
    tickAfter: (instant) => cron.nextRun(instant) ?? undefined,
  };
  if (schedule.tickAfter(startDate ?? new Date(0))) return schedule;
  throw createBadScheduleError(definition.schedule, 'There is no such date in any year.');
}

/**
 * The instant that an ISO text names: a date, or a date and a time with an offset or `Z`. `local` decides what a
 * text without an offset means; undefined from it, like a date that does not exist, gives undefined.
 */
export function parseInstant(
  text: string,
  local: (date: string, time: string | undefined) => Date | undefined,
): Date | undefined {
  const [, date, time, offset] = ISO.exec(text) ?? [];
  if (date === undefined || !isRealDate(date)) return undefined;
  return offset === undefined ? local(date, time) : new Date(`${date}T${time}${withColon(offset)}`);
}

/** The first instant of a day (`2026-03-05`) in a timezone: not always 00:00. Undefined for a day that it skipped. */
export function startOfDay(date: string, timezone: string): Date | undefined {
  const [, month, day] = date.split('-').map(Number);
  const midnightInUtc = new Date(`${date}T00:00Z`).getTime();
  const first = new Cron(`0 0 ${day} ${month} *`, { timezone }).nextRun(
    new Date(midnightInUtc - FURTHEST_ZONE_MS),
  );
  return first && first.getTime() <= midnightInUtc + FURTHEST_ZONE_MS ? first : undefined;
}

function checkTimezone(timezone: unknown): string {
  // Newer versions of Intl take an offset, which has no clock changes and which older ones refuse.
  if (typeof timezone === 'string' && /^[A-Za-z]/.test(timezone) && isTimezone(timezone)) return timezone;
  throw new EtlError('ETL-2304', {
    what: `Expected \`timezone\` to be an IANA name such as "Europe/Berlin", got ${showValue(timezone)}`,
    fix: 'See https://www.iana.org/time-zones for the names.',
  });
}

function isTimezone(name: string): boolean {
  if (name === 'UTC') return true; // Intl takes 20 ms to say so, and most configs ask for nothing else.
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }) instanceof Intl.DateTimeFormat;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function checkStartDate(startDate: unknown): Date | undefined {
  if (startDate === undefined) return undefined;
  const instant = typeof startDate === 'string' ? parseInstant(startDate, parseUtcDate) : undefined;
  if (instant) return instant;
  throw new EtlError('ETL-2304', {
    what: `Expected \`startDate\` to be a date such as "2026-03-05", got ${showValue(startDate)}`,
    fix: 'Write an existing day as YYYY-MM-DD, or with a time as 2026-03-05T02:00:00Z.',
  });
}

function parseUtcDate(date: string, time = '00:00'): Date {
  return new Date(`${date}T${time}Z`);
}

/** Expands a preset, and refuses with a reason what other programs accept as a schedule. */
function normalizeExpression(schedule: unknown): string {
  if (typeof schedule !== 'string') throw createBadScheduleError(schedule);
  if (schedule === '@continuous')
    throw createBadScheduleError(schedule, 'A run ends, and nothing here starts the next one.');
  if (schedule === '@reboot')
    throw createBadScheduleError(schedule, 'The start of a machine is no point in time to plan with.');
  if (schedule.startsWith('@')) {
    const expression = PRESETS.get(schedule);
    if (expression !== undefined) return expression;
    const known = ['@once', ...PRESETS.keys()];
    throw createBadScheduleError(
      schedule,
      `The presets are ${known.join(', ')}${didYouMean(schedule.slice(0, 20), known)}`,
    );
  }
  const fields = schedule.trim().split(/\s+/);
  if (fields.length === 6)
    throw createBadScheduleError(schedule, 'It has 6 fields; the shortest step of a schedule is a minute.');
  if (fields.length !== 5)
    throw createBadScheduleError(schedule, `It has ${schedule.trim() === '' ? 0 : fields.length} fields.`);
  if (fields.some((field) => /^H\b/.test(field))) {
    throw createBadScheduleError(
      schedule,
      '`H` is a hash in Jenkins; cron does not know it. Choose a number.',
    );
  }
  return fields.join(' ');
}

function parseCron(schedule: string, expression: string, timezone: string): Cron {
  try {
    return new Cron(expression, { mode: '5-part', timezone });
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : undefined;
    throw createBadScheduleError(schedule, reason, error);
  }
}

function createBadScheduleError(schedule: unknown, why?: string, cause?: unknown): EtlError {
  return new EtlError('ETL-2304', {
    what: `Expected \`schedule\` to be five cron fields or a preset such as "@daily", got ${showValue(schedule)}`,
    why,
    fix: 'The fields are minute (0-59), hour (0-23), day of month (1-31), month (1-12) and day of week (0-7).',
    cause,
  });
}

/** `Date` reads 2024-02-30 as March 1. */
function isRealDate(date: string): boolean {
  const day = new Date(`${date}T00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(date);
}

function withColon(offset: string): string {
  return /^[+-]\d{4}$/.test(offset) ? `${offset.slice(0, 3)}:${offset.slice(3)}` : offset;
}
