/** Matches a word that no shell changes, so that the word needs no quotes. */
const PLAIN = /^[\w.:+/@-]+$/;

/**
 * Formats a call of `etl` that a person can copy into a shell: `formatCommand('state', 'list', 'my dag')` is `etl state
 * list 'my dag'`.
 */
export function formatCommand(...words: readonly string[]): string {
  return ['etl', ...words.map(quoteWord)].join(' ');
}

/** Formats the call that resumes a run. Without `runId` the call resumes the last run of the Dag. */
export function formatResumeCommand(dagId: string, runId?: string): string {
  const which = runId === undefined ? [] : ['--run-id', runId];
  return formatCommand('run', dagId, '--resume', ...which);
}

/**
 * Quotes a word by the rules of a POSIX shell:
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02_02
 */
function quoteWord(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
