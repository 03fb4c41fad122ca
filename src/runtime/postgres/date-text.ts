const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
/** The numbers 0 to 59 with two digits. */
const TWO_DIGITS = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'));
/** The numbers 0 to 999 with three digits. */
const THREE_DIGITS = Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, '0'));
/** From this time on, all time zones have offsets of whole minutes: Liberia was the last one without. */
const WHOLE_MINUTES_MS = Date.UTC(1973, 0, 1);

/** Writes a date as text for PostgreSQL. Throws a `RangeError` for an invalid date. */
export type DateFormat = (date: Date) => string;

/**
 * Returns a function that writes dates as pg writes them: the local time of this process with its offset, such as
 * `2026-01-31T23:59:59.999+01:00`. The server takes from this text what the type of the column can hold: `date`,
 * `time` and `timestamp` take the local time and ignore the offset, `timestamptz` takes the instant. With `isUtc`, the
 * text is the time in UTC, as pg writes it with `pg.defaults.parseInputDatesAsUTC`.
 *
 * The function remembers the offset and the text of the last day, because the dates of neighbouring rows are often on
 * the same day. Unlike pg, the function writes the seconds of an offset, which many zones had before 1940.
 */
export function createDateFormat(isUtc = false): DateFormat {
  const getOffset = isUtc ? (): number => 0 : createOffsetReader();
  let lastDay = Number.NaN;
  let lastDayText = '';
  let lastOffset = Number.NaN;
  let lastOffsetText = '';
  return (date) => {
    const time = date.getTime();
    const offset = getOffset(date, time);
    const local = time + offset;
    const day = Math.floor(local / DAY_MS);
    if (day !== lastDay) {
      lastDayText = formatDay(day);
      lastDay = day;
    }
    if (offset !== lastOffset) {
      lastOffsetText = formatOffset(offset);
      lastOffset = offset;
    }
    const text = `${lastDayText}T${formatClock(local - day * DAY_MS)}${lastOffsetText}`;
    return day < FIRST_DAY_AD ? `${text} BC` : text;
  };
}

/** The day of 0001-01-01, in days since 1970. */
const FIRST_DAY_AD = -719_162;

/**
 * Returns a function that computes the offset of the local time at a date, in milliseconds. `time` is the time of the
 * date. Asking a `Date` takes a third of the time of writing it, so the function remembers the last day in UTC. No zone
 * has changed its offset twice within a day.
 */
function createOffsetReader(): (date: Date, time: number) => number {
  let lastDay = Number.NaN;
  /** The offset during `lastDay`. NaN if the offset changes on this day. */
  let lastOffset = Number.NaN;
  return (date, time) => {
    const day = Math.floor(time / DAY_MS);
    if (day !== lastDay) {
      const [start, end] = [new Date(day * DAY_MS), new Date((day + 1) * DAY_MS)].map(computeOffset);
      lastOffset = start === end && start !== undefined ? start : Number.NaN;
      lastDay = day;
    }
    return Number.isNaN(lastOffset) ? computeOffset(date) : lastOffset;
  };
}

/** Computes the offset of the local time at a date, in milliseconds. */
function computeOffset(date: Date): number {
  if (date.getTime() >= WHOLE_MINUTES_MS) return -date.getTimezoneOffset() * MINUTE_MS;
  // `getTimezoneOffset` leaves out the seconds. The local time as if it were in UTC has them.
  const local = new Date(0);
  local.setUTCFullYear(date.getFullYear(), date.getMonth(), date.getDate());
  local.setUTCHours(date.getHours(), date.getMinutes(), date.getSeconds(), date.getMilliseconds());
  return local.getTime() - date.getTime();
}

/** Writes a time of day in milliseconds: `23:59:59.999`. */
function formatClock(ms: number): string {
  const hours = Math.floor(ms / HOUR_MS);
  let rest = ms - hours * HOUR_MS;
  const minutes = Math.floor(rest / MINUTE_MS);
  rest -= minutes * MINUTE_MS;
  const seconds = Math.floor(rest / 1000);
  return `${TWO_DIGITS[hours]}:${TWO_DIGITS[minutes]}:${TWO_DIGITS[seconds]}.${THREE_DIGITS[rest - seconds * 1000]}`;
}

/** Writes an offset: `+02:00`, `-03:30`, `+00:53:28`. */
function formatOffset(offset: number): string {
  const size = Math.abs(offset);
  const [hours, minutes, seconds] = [size / HOUR_MS, (size % HOUR_MS) / MINUTE_MS, (size % MINUTE_MS) / 1000];
  const text = `${offset < 0 ? '-' : '+'}${TWO_DIGITS[Math.floor(hours)]}:${TWO_DIGITS[Math.floor(minutes)]}`;
  return seconds === 0 ? text : `${text}:${TWO_DIGITS[seconds]}`;
}

/**
 * Writes a day, counted from 1970-01-01: `2026-01-31`, `10000-01-01`, `0044-03-15` for a day in 44 BC. PostgreSQL has no
 * year 0, which is 1 BC. The caller adds ` BC`. Works for every day of the type `date`, which are more than those of
 * `Date`. Throws a `RangeError` for NaN. The algorithm: https://howardhinnant.github.io/date_algorithms.html
 */
function formatDay(days: number): string {
  if (Number.isNaN(days)) throw new RangeError('the Date is not valid');
  // The days since 0000-03-01. A year that starts in March ends with its leap day.
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const leapDays =
    Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${String(year > 0 ? year : 1 - year).padStart(4, '0')}-${TWO_DIGITS[month]}-${TWO_DIGITS[day]}`;
}

/** The parts of a date in UTC: `2026-01-31`, `23:59:59`, and whether the year is before our era. */
export interface UtcParts {
  readonly day: string;
  readonly clock: string;
  readonly era: '' | ' BC';
}

/**
 * Returns a function that splits whole seconds since 1970 into the parts of their date in UTC. Remembers the last day.
 */
export function createUtcSplitter(): (seconds: number) => UtcParts {
  let lastDay = Number.NaN;
  let text = '';
  return (seconds) => {
    const day = Math.floor((seconds * 1000) / DAY_MS);
    if (day !== lastDay) {
      text = formatDay(day);
      lastDay = day;
    }
    const clock = formatClock(seconds * 1000 - day * DAY_MS).slice(0, 8);
    return { day: text, clock, era: day < FIRST_DAY_AD ? ' BC' : '' };
  };
}
