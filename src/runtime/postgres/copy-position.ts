/** A position in the input of a COPY. */
export interface CopyPosition {
  /** The table as the context names it, without its schema. */
  readonly table: string;
  /** The line of the input, from 1. A header is a line. */
  readonly line: number;
  readonly column: string | undefined;
}

/** The table of a COPY that reads rows, and the columns that the statement lists. */
interface CopyTarget {
  readonly table: string;
  readonly columns: readonly string[];
}

/** A name in an SQL text, with quotes or without. */
const NAME = String.raw`(?:"(?:[^"]|"")+"|[^\s".(,]+)`;
const TARGET = new RegExp(
  String.raw`^\s*copy\s+(?:${NAME}\.)?(${NAME})\s*(?:\(\s*(${NAME}(?:\s*,\s*${NAME})*)\s*\))?\s*from\b`,
  'iu',
);

/**
 * Finds the position in the input of a COPY in the context of a server's error. The context has one line for each level,
 * such as a trigger, JSON data or the COPY, innermost first. `sql` is the statement that failed, if it is known.
 *
 * The server writes the context in the language of its lc_messages. The forms are `COPY t, line 3, column a: "x"`,
 * `tのCOPY、行 3、列 a: "x"` (Japanese) and `t 복사, 3번째 줄, a 열: "x"` (Korean). All other languages differ from the
 * first form only in the words for line and column.
 */
export function parseCopyPosition(context: string, sql: string | undefined): CopyPosition | undefined {
  const target = sql === undefined ? undefined : readCopyTarget(sql);
  if (sql !== undefined && target === undefined) return undefined;
  const level =
    target === undefined
      ? '(?:COPY ([^,\\n]+)|([^,、\\n]+)のCOPY)'
      : String.raw`(?:COPY )?(${escapePattern(target.table)})(?:のCOPY| 복사)?`;
  // The number of the line has at most one word before it.
  const match = new RegExp(String.raw`^${level}[,、] ?(?:[^\d\s]+ )?(?<line>\d+)(?<rest>[^\n]*)$`, 'mu').exec(
    context,
  );
  if (match === null) return undefined;
  const { line, rest = '' } = match.groups ?? {};
  const table = match[1] ?? match[2] ?? '';
  return { table, line: Number(line), column: parseColumn(rest, target?.columns ?? []) };
}

/**
 * Reads the column from the end of a COPY's context, such as `, column a: "x"`. A column of `columns` wins, because its
 * name may contain spaces, commas or a colon.
 */
function parseColumn(rest: string, columns: readonly string[]): string | undefined {
  const isColumn = (name: string): boolean =>
    new RegExp(String.raw`[,、] ?(?:\S+ )?${escapePattern(name)}(?: 열)?(?:\s?[:：]|$)`, 'u').test(rest);
  const known = columns.filter(isColumn).toSorted((a, b) => b.length - a.length)[0];
  if (known !== undefined) return known;
  const [, last = ''] = /[,、] ?([^,、]+)$/u.exec(rest.replace(/\s?[:：].*$/u, '')) ?? [];
  if (last.endsWith(' 열')) return last.slice(0, -2);
  const name = last.replace(/^\S+ /, '');
  return name === last ? undefined : name;
}

/** Reads the target of a COPY statement. Undefined for any other statement. */
function readCopyTarget(sql: string): CopyTarget | undefined {
  const match = TARGET.exec(sql);
  if (match === null) return undefined;
  const columns = match[2]?.match(new RegExp(NAME, 'gu')) ?? [];
  return { table: unquote(match[1] ?? ''), columns: columns.map(unquote) };
}

/** Removes the quotes of an SQL name. A name without quotes is in lower case. */
function unquote(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
}

/** Returns a pattern that matches this text. */
function escapePattern(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
}
