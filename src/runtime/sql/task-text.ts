import { readTokens, type Token } from './scan.js';
import { splitStatements, type Statement } from './split.js';

/** The first words of the statements that begin or end a transaction. */
const FIRST_WORDS: ReadonlySet<string> = new Set([
  'begin',
  'start',
  'commit',
  'end',
  'rollback',
  'abort',
  'prepare',
]);

/**
 * Returns the name of a statement that begins or ends a transaction, such as `ROLLBACK` or `PREPARE TRANSACTION`.
 * `words` are the tokens of the statement in lower case, at least the first four. Returns undefined for every other
 * statement, also for ROLLBACK TO SAVEPOINT, which keeps the transaction.
 */
export function nameTransactionCommand(words: readonly string[]): string | undefined {
  const [first = '', second] = words;
  if (!FIRST_WORDS.has(first)) return undefined;
  // `prepare` and `start` begin other statements too.
  if ((first === 'prepare' || first === 'start') && second !== 'transaction') return undefined;
  if (first === 'rollback' && words.slice(1, 3).includes('to')) return undefined;
  const hasTwo = second === 'transaction' || second === 'prepared';
  return (hasTwo ? `${first} ${second}` : first).toUpperCase();
}

/**
 * Returns the direction of a COPY whose rows come from the client or go to the client. Returns undefined for every other
 * statement. `tokens` are the tokens of `sql` without blanks and comments.
 */
export function findCopyDirection(sql: string, tokens: readonly Token[]): 'from' | 'to' | undefined {
  const words = tokens.map(({ start, end }) => sql.slice(start, end).toLowerCase());
  if (words[0] !== 'copy') return undefined;
  let depth = 0;
  for (const [index, word] of words.entries()) {
    if (word === '(') depth++;
    if (word === ')') depth--;
    // PostgreSQL takes STDIN and STDOUT as the same word, so the word before decides.
    const isClient = (word === 'stdin' || word === 'stdout') && tokens[index]?.kind === 'word' && depth === 0;
    const before = words[index - 1];
    if (isClient && (before === 'from' || before === 'to')) return before;
  }
  return undefined;
}

/** Returns the tokens of a statement without blanks and comments. Throws `EtlError` ETL-3002 as `readTokens` does. */
export function readWords(sql: string): readonly Token[] {
  return Array.from(readTokens(sql)).filter(({ kind }) => kind !== 'space' && kind !== 'comment');
}

/** The content of a text that a task sends. */
export interface TaskText {
  /**
   * The statements of a text with a semicolon before its end. Undefined if the text has no such semicolon, because it
   * is one statement then, or if a quote or a comment does not end.
   */
  readonly statements: readonly Statement[] | undefined;
  /** The first statement that ends the transaction, such as `ROLLBACK`. Undefined if no statement does. */
  readonly end: string | undefined;
  /** True if one of several statements is a COPY whose rows come from the client. */
  readonly hasCopyIn: boolean;
}

/** Splits a text that a task sends, and looks for a statement that ends the transaction. */
export function readTaskText(sql: string): TaskText {
  const statements = hasInnerSemicolon(sql) ? trySplit(sql) : undefined;
  const texts = statements?.map(({ text }) => text) ?? [sql];
  const hasCopyIn = texts.length > 1 && texts.some(isCopyIn);
  return { statements, end: texts.map(nameTransactionEnd).find((name) => name !== undefined), hasCopyIn };
}

/** Returns true if something other than blanks and semicolons follows a semicolon. */
function hasInnerSemicolon(sql: string): boolean {
  const at = sql.indexOf(';');
  return at !== -1 && /[^;\s]/.test(sql.slice(at));
}

/**
 * Splits a text into its statements. Returns undefined if the text has no statement, or if a quote or a comment does
 * not end: the error of the server is more useful.
 */
function trySplit(sql: string): readonly Statement[] | undefined {
  try {
    const statements = splitStatements(sql);
    return statements.length === 0 ? undefined : statements;
  } catch {
    return undefined;
  }
}

function isCopyIn(sql: string): boolean {
  return /copy/i.test(sql) && findCopyDirection(sql, readWords(sql)) === 'from';
}

const LETTERS = /[a-z]+/iy;

/** Returns the name of a statement that ends the transaction. Returns undefined for every other statement. */
function nameTransactionEnd(sql: string): string | undefined {
  // Nearly every statement begins with a word that decides, and then its tokens are not read.
  LETTERS.lastIndex = 0;
  const first = LETTERS.exec(sql)?.[0].toLowerCase();
  if (first !== undefined && !FIRST_WORDS.has(first)) return undefined;
  const name = nameTransactionCommand(readFirstWords(sql));
  return name === undefined || name.startsWith('BEGIN') || name.startsWith('START') ? undefined : name;
}

/** Returns the first four tokens of a statement in lower case. Fewer if a quote or a comment does not end. */
function readFirstWords(sql: string): readonly string[] {
  const words: string[] = [];
  try {
    for (const { kind, start, end } of readTokens(sql)) {
      if (kind === 'space' || kind === 'comment') continue;
      words.push(sql.slice(start, end).toLowerCase());
      if (words.length === 4) break;
    }
  } catch {
    // The server refuses the text.
  }
  return words;
}
