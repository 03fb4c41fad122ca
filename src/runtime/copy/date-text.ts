const DAY_MS = 86_400_000;
const TWO = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'));
const THREE = Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, '0'));

let lastDay = Number.NaN;
let lastDayText = '';

/**
 * A moment as PostgreSQL reads it, in UTC with milliseconds: `2026-01-31T23:59:59.999Z`. The day is kept from one call to
 * the next, because the dates of neighbouring rows are close to each other. Throws a `RangeError` for an invalid date.
 */
export function dateText(date: Date): string {
  const time = date.getTime();
  const day = Math.floor(time / DAY_MS);
  if (day !== lastDay) {
    lastDayText = dayText(date);
    lastDay = day;
  }
  let rest = time - day * DAY_MS;
  const hours = Math.floor(rest / 3_600_000);
  rest -= hours * 3_600_000;
  const minutes = Math.floor(rest / 60_000);
  rest -= minutes * 60_000;
  const seconds = Math.floor(rest / 1000);
  const clock = `${TWO[hours]}:${TWO[minutes]}:${TWO[seconds]}.${THREE[rest - seconds * 1000]}Z`;
  return date.getUTCFullYear() > 0 ? lastDayText + clock : `${lastDayText}${clock} BC`;
}

/** JavaScript has a year 0 and writes years beyond 9999 with a sign; PostgreSQL has and takes neither. */
function dayText(date: Date): string {
  const [month, day] = date.toISOString().slice(-19, -14).split('-');
  const year = date.getUTCFullYear();
  return `${String(year > 0 ? year : 1 - year).padStart(4, '0')}-${month}-${day}T`;
}
