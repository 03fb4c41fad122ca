const WRITING: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

const NAME = `("(?:[^"]|"")+"|[^\\s;"]+)`;
/** The command tag of a statement does not name its savepoint, the statement does. */
const SAVEPOINT = new RegExp(`\\bsavepoint\\s+${NAME}`, 'i');
const RELEASE = new RegExp(`\\brelease\\s+(?:savepoint\\s+)?${NAME}`, 'i');
const ROLLBACK_TO = new RegExp(
  `\\brollback\\s+(?:(?:work|transaction)\\s+)?to\\s+(?:savepoint\\s+)?${NAME}`,
  'i',
);

/** Counts the rows that statements write, by the server's command tags; a savepoint that is undone undoes its rows. */
export class RowCount {
  written = 0;
  /** Those that are there, the newest last, each with the rows that were written when it was made. */
  #savepoints: { readonly name: string; readonly written: number }[] = [];
  #isCopying = false;

  /** The next COPY writes: one that reads has the same tag. */
  copyIn(): void {
    this.#isCopying = true;
  }

  /** Counts a command tag, such as `INSERT 0 5`, of a statement in `sql`. */
  add(tag: string, sql: string): void {
    const [command, ...counts] = tag.split(' ');
    if (command === 'SAVEPOINT')
      this.#savepoints.push({ name: findName(sql, SAVEPOINT), written: this.written });
    if (command === 'RELEASE') this.#savepoints.splice(this.#indexOf(findName(sql, RELEASE)));
    if (command === 'ROLLBACK') this.#undoTo(findName(sql, ROLLBACK_TO));
    const writes = command === 'COPY' ? this.#isCopying : WRITING.has(command ?? '');
    if (writes) this.written += Number(counts.at(-1) ?? 0);
    this.#isCopying = false;
  }

  /** The savepoint itself stays; those that were made after it are gone. */
  #undoTo(name: string): void {
    this.#savepoints.splice(this.#indexOf(name) + 1);
    this.written = this.#savepoints.at(-1)?.written ?? 0;
  }

  /** Of two with one name the newer one is meant; of an unknown name, the newest of all. */
  #indexOf(name: string): number {
    const index = this.#savepoints.findLastIndex((each) => each.name === name);
    return index === -1 ? Math.max(0, this.#savepoints.length - 1) : index;
  }
}

/** As the server compares names. */
function findName(sql: string, pattern: RegExp): string {
  const name = pattern.exec(sql)?.[1] ?? '';
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
}
