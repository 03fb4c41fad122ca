/** Characters that no shell changes in the middle of a word. */
const PLAIN = /^[\w.:+/@-]+$/;

/** A call of `etl` to copy into a shell: `formatCommand('state', 'list', 'my dag')` is `etl state list 'my dag'`. */
export function formatCommand(...words: readonly string[]): string {
  return ['etl', ...words.map(quoteWord)].join(' ');
}

/** The call that resumes a run; without `runId` the last run of the Dag. */
export function formatResumeCommand(dagId: string, runId?: string): string {
  const which = runId === undefined ? [] : ['--run-id', runId];
  return formatCommand('run', dagId, '--resume', ...which);
}

/** By the rules of a POSIX shell: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02_02 */
function quoteWord(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
