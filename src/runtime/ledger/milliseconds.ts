/** Selects a timestamp as a number of milliseconds, because the text of a timestamp depends on settings of the role. */
export function selectMilliseconds(column: string): string {
  return `(extract(epoch from ${column}) * 1000)::float8`;
}
