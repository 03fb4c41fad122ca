/** The zone of a Dag without a `timezone`, and of a Dag that the config does not have. */
export const DEFAULT_ZONE = 'UTC';

/** Formats a time in a time zone. Example: `2026-11-23 05:46:45`. The caller names the zone beside the time. */
export function formatTime(date: Date, zone: string): string {
  // Loading the data of Intl takes 10 ms, and most runs are in UTC.
  if (zone === DEFAULT_ZONE) return date.toISOString().slice(0, 19).replace('T', ' ');
  // The locale of Sweden writes dates as ISO 8601 does.
  return date.toLocaleString('sv-SE', { timeZone: zone });
}

/**
 * Formats a data interval in a time zone, with the name of the zone. Leaves out seconds that are 0. Example:
 * `[2026-03-01 02:00, 2026-04-01 02:00) Europe/Berlin`. If the clock is set back in the interval, so that its end seems to
 * come before its start, both times get their offset.
 */
export function formatInterval(
  { start, end }: { readonly start: Date; readonly end: Date },
  zone: string,
): string {
  const [from, until] = [formatTime(start, zone), formatTime(end, zone)];
  const isClear = from < until;
  const [first, last] = [
    isClear ? from.replace(/:00$/, '') : from + formatOffset(start, zone),
    isClear ? until.replace(/:00$/, '') : until + formatOffset(end, zone),
  ];
  return `[${first}, ${last}) ${zone}`;
}

/** Formats the offset of a zone at a time, such as `+02:00`. */
function formatOffset(date: Date, zone: string): string {
  const parts = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' }).formatToParts(
    date,
  );
  return parts.find(({ type }) => type === 'timeZoneName')?.value.replace('GMT', '') || '+00:00';
}
