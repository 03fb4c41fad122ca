/**
 * Selects a timestamp as a whole number of milliseconds, because the text of a timestamp and of a fraction depends on
 * settings of the role. `column` is SQL for a timestamp with a time zone.
 */
export function selectMilliseconds(column: string): string {
  return `pg_catalog.floor(extract(epoch from ${column}) operator(pg_catalog.*) 1000)::pg_catalog.int8`;
}
