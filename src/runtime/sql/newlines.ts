/** Returns the number of newlines of `sql` in `[from, to)`. */
export function countNewlines(sql: string, from: number, to: number): number {
  let count = 0;
  for (let at = sql.indexOf('\n', from); at !== -1 && at < to; at = sql.indexOf('\n', at + 1)) count++;
  return count;
}
