/** The commands whose tags end with the number of rows that they wrote. */
const WRITING: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

/** The pattern of a savepoint's name: a quoted name, in which `""` stands for a quote, or a name without quotes. */
const NAME = `("(?:[^"]|"")+"|[^\\s;"]+)`;
/** Command tags do not contain the names of savepoints, so the names are read from the SQL text. */
const SAVEPOINT = new RegExp(`\\bsavepoint\\s+${NAME}`, 'i');
const RELEASE = new RegExp(`\\brelease\\s+(?:savepoint\\s+)?${NAME}`, 'i');
const ROLLBACK_TO = new RegExp(
  `\\brollback\\s+(?:(?:work|transaction)\\s+)?to\\s+(?:savepoint\\s+)?${NAME}`,
  'i',
);

/**
 * Counts the rows that the statements of a task write, by the server's command tags. The rows that a rollback to a
 * savepoint removes are subtracted.
 */
export class RowCount {
  /** The number of rows that were written and not rolled back. */
  written = 0;
  /** The open savepoints, the newest last. Each has the count of rows at its creation. */
  #savepoints: { readonly name: string; readonly written: number }[] = [];
  /** True from the start of a COPY FROM up to the next command tag, which belongs to it. */
  #isCopying = false;

  /**
   * Reports that a COPY FROM has started, so that the next command tag counts as written rows. The tag alone does not
   * tell: COPY TO, which reads rows, has the same tag.
   */
  startCopyIn(): void {
    this.#isCopying = true;
  }

  /**
   * Takes the next command tag of the task. `sql` is the text that contains the statement of the tag.
   *
   * - `INSERT 0 5` adds 5, and so do `UPDATE 5`, `DELETE 5` and `MERGE 5`. `COPY 5` adds 5 for a COPY FROM only.
   * - `SAVEPOINT` remembers the count. `RELEASE` forgets a savepoint and all newer savepoints, and keeps the count.
   * - `ROLLBACK` is a rollback to a savepoint here, and restores its count.
   */
  add(tag: string, sql: string): void {
    const [command, ...counts] = tag.split(' ');
    if (command === 'SAVEPOINT')
      this.#savepoints.push({ name: findName(sql, SAVEPOINT), written: this.written });
    if (command === 'RELEASE') this.#savepoints.splice(this.#findIndex(findName(sql, RELEASE)));
    if (command === 'ROLLBACK') this.#undoTo(findName(sql, ROLLBACK_TO));
    const hasWritten = command === 'COPY' ? this.#isCopying : WRITING.has(command ?? '');
    if (hasWritten) this.written += Number(counts.at(-1) ?? 0);
    this.#isCopying = false;
  }

  /**
   * Restores the count that a savepoint has remembered. The savepoint stays open; all newer savepoints are removed. If
   * no savepoint is open, the count becomes 0.
   */
  #undoTo(name: string): void {
    this.#savepoints.splice(this.#findIndex(name) + 1);
    this.written = this.#savepoints.at(-1)?.written ?? 0;
  }

  /**
   * Returns the index of the newest savepoint with this name. If no savepoint has this name, returns the index of the
   * newest savepoint, or 0 if no savepoint is open: the name can't be read from each text.
   */
  #findIndex(name: string): number {
    const index = this.#savepoints.findLastIndex((each) => each.name === name);
    return index === -1 ? Math.max(0, this.#savepoints.length - 1) : index;
  }
}

/**
 * Reads the name of a savepoint from SQL text, in the form in which the server compares names. Examples:
 * `savepoint Part` -> `part`; `savepoint "a ""b"""` -> `a "b"`. Empty if the text does not match the pattern.
 */
function findName(sql: string, pattern: RegExp): string {
  const name = pattern.exec(sql)?.[1] ?? '';
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
}
