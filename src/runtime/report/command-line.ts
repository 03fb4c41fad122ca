/** Matches a word that no shell changes, so that the word needs no quotes. */
const PLAIN = /^[\w.:+/@-]+$/;

/** The words of this process's command line that another call needs, to work on the same config and databases. */
export interface GivenWords {
  /** The variables that decide which config and connections are found, by name. Never contains a secret. */
  readonly variables: Readonly<Record<string, string>>;
  /** The flags that every command has, such as `--config` and `--conn`. Never contains a secret. */
  readonly flags: readonly string[];
  /** The flags of `etl run` that limit a run, such as `--timeout`. */
  readonly runFlags: readonly string[];
  /** The words that run the Dag of a command without a config, such as `load in.csv --into t`. Default: `run` and its ID. */
  readonly runWords?: readonly string[];
}

const NOTHING: GivenWords = { variables: {}, flags: [], runFlags: [] };

/** The words of this process. One process runs one command. */
let given = NOTHING;

/** Sets the words that all calls of `formatCommand` add. Without an argument, they add none. */
export function setGivenWords(words: GivenWords = NOTHING): void {
  given = words;
}

/**
 * Formats a call of `etl` that a person can copy into a shell: `formatCommand('state', 'list', 'my dag')` is `etl state
 * list 'my dag'`. The call has the same config and connections as this process (see `setGivenWords`).
 */
export function formatCommand(...words: readonly string[]): string {
  const variables = Object.entries(given.variables).map(([name, value]) => `${name}=${quoteWord(value)}`);
  return [...variables, 'etl', ...[...words, ...given.flags].map(quoteWord)].join(' ');
}

/** Formats the call that runs a Dag. */
export function formatRunCommand(dagId: string): string {
  return formatCommand(...(given.runWords ?? ['run', dagId]));
}

/** Formats the advice to read the help of the command that runs the Dag. */
export function formatHelpAdvice(): string {
  return `see etl ${given.runWords?.[0] ?? 'run'} --help`;
}

/** Formats the call that resumes a run. Without `runId` the call resumes the last run of the Dag. */
export function formatResumeCommand(dagId: string, runId?: string): string {
  const which = runId === undefined ? [] : ['--run-id', runId];
  const words = given.runWords ?? ['run', dagId];
  return formatCommand(...words, '--resume', ...which, ...given.runFlags);
}

/**
 * Quotes a word by the rules of a POSIX shell:
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02_02
 */
function quoteWord(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
