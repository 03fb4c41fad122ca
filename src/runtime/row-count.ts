const WRITING: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

/** Counts the rows that statements write, by the server's command tags; a savepoint that is undone undoes its rows. */
export class RowCount {
  written = 0;
  /** The rows that were written when each savepoint was made. */
  readonly #savepoints: number[] = [];
  #isCopying = false;

  /** The next COPY writes: one that reads has the same tag. */
  copyIn(): void {
    this.#isCopying = true;
  }

  /** Counts a command tag, such as `INSERT 0 5`. */
  add(tag: string): void {
    const [command, ...counts] = tag.split(' ');
    if (command === 'SAVEPOINT') this.#savepoints.push(this.written);
    if (command === 'RELEASE') this.#savepoints.pop();
    if (command === 'ROLLBACK') this.written = this.#savepoints.at(-1) ?? 0;
    const writes = command === 'COPY' ? this.#isCopying : WRITING.has(command ?? '');
    if (writes) this.written += Number(counts.at(-1) ?? 0);
    this.#isCopying = false;
  }
}
