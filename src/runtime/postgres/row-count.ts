/** The commands whose tags end with the number of rows that they wrote. */
const WRITING: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

const NAME = `("(?:[^"]|"")+"|[^\\s;"]+)`;
/** Command tags do not contain the names of savepoints, so the names are read from the SQL text. */
const SAVEPOINT = new RegExp(`\\bsavepoint\\s+${NAME}`, 'i');
const RELEASE = new RegExp(`\\brelease\\s+(?:savepoint\\s+)?${NAME}`, 'i');
const ROLLBACK_TO = new RegExp(
  `\\brollback\\s+(?:(?:work|transaction)\\s+)?to\\s+(?:savepoint\\s+)?${NAME}`,
  'i',
);

/**
 * Counts the rows that the statements of a task write, by the server's command tags. A rollback to a savepoint also
 * takes back the count.
 */
export class RowCount {
  /** The number of rows that were written and not rolled back. */
  written = 0;
  /** The open savepoints, the newest last. Each has the count of rows at its creation. */
  #savepoints: { readonly name: string; readonly written: number }[] = [];
  #isCopying = false;

  /** Reports that the next COPY writes rows. COPY TO and COPY FROM have the same command tag. */
  startCopyIn(): void {
    this.#isCopying = true;
  }

  /** Counts a command tag, such as `INSERT 0 5`. `sql` is the text that contains the statement. */
  add(tag: string, sql: string): void {
    const [command, ...counts] = tag.split(' ');
    if (command === 'SAVEPOINT')
      this.#savepoints.push({ name: findName(sql, SAVEPOINT), written: this.written });
    if (command === 'RELEASE') this.#savepoints.splice(this.#findIndex(findName(sql, RELEASE)));
    if (command === 'ROLLBACK') this.#undoTo(findName(sql, ROLLBACK_TO));
    const writes = command === 'COPY' ? this.#isCopying : WRITING.has(command ?? '');
    if (writes) this.written += Number(counts.at(-1) ?? 0);
    this.#isCopying = false;
  }

  /** Restores the count of a savepoint. The savepoint stays open; all newer savepoints are removed. */
  #undoTo(name: string): void {
    this.#savepoints.splice(this.#findIndex(name) + 1);
    this.written = this.#savepoints.at(-1)?.written ?? 0;
  }

  /**
   * Returns the index of the newest savepoint with this name. If there is none, returns the index of the newest
   * savepoint.
   */
  #findIndex(name: string): number {
    const index = this.#savepoints.findLastIndex((each) => each.name === name);
    return index === -1 ? Math.max(0, this.#savepoints.length - 1) : index;
  }
}

/** Reads the name of a savepoint from SQL text, in the form in which the server compares names. */
function findName(sql: string, pattern: RegExp): string {
  const name = pattern.exec(sql)?.[1] ?? '';
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
}
