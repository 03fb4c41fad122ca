import { countNewlines } from './newlines.js';
import { readTokens, type Token } from './scan.js';

/** One statement of an SQL file. */
export interface Statement {
  /**
   * The text, without the semicolon and the comments around the statement. A planner hint before the statement remains.
   */
  readonly text: string;
  /** The line of the file on which `text` starts, from 1. */
  readonly line: number;
  /** The index of the file at which `text` starts. */
  readonly start: number;
}

/**
 * Returns the statements of an SQL file, in order, without empty statements. A semicolon does not end a statement
 * inside quotes, comments, parentheses (`CREATE RULE … DO (a; b)`) and `BEGIN ATOMIC … END`
 * (https://www.postgresql.org/docs/current/sql-createfunction.html). `file` is the path of the text's file, for
 * messages. Calls `inspect` with each statement before the text after the statement is read. Throws `EtlError` ETL-3002
 * for a quote or a comment that does not end, and for a NUL character.
 */
export function splitStatements(sql: string, { file, inspect }: SplitOptions = {}): readonly Statement[] {
  const splitter = new Splitter(sql, inspect);
  for (const token of readTokens(sql, file)) splitter.take(token);
  return splitter.finish();
}

/** The options of `splitStatements`. */
export interface SplitOptions {
  readonly file?: string | undefined;
  /** Throws if the statement can't run. The text after such a statement may be no SQL at all. */
  readonly inspect?: (statement: Statement) => void;
}

/** Collects the tokens of a file into statements. */
class Splitter {
  readonly #sql: string;
  readonly #statements: Statement[] = [];
  #nesting = new Nesting();
  /** The index of the planner hint before the current statement. */
  #hint: number | undefined;
  /** The index at which the current statement starts. Undefined before its first token. */
  #start: number | undefined;
  /** The index after the last token of the current statement, without comments and blanks. */
  #end = 0;
  #line = 1;
  /** The index up to which `#line` is counted. */
  #countedUntil = 0;

  readonly #inspect: SplitOptions['inspect'];

  constructor(sql: string, inspect: SplitOptions['inspect']) {
    this.#sql = sql;
    this.#inspect = inspect;
  }

  /** Adds a token to the current statement. A semicolon outside of everything else ends the statement. */
  take(token: Token): void {
    if (token.kind === 'space') return;
    if (token.kind === 'comment') {
      // The extension pg_hint_plan reads planner hints from such a comment.
      if (this.#start === undefined && this.#sql.startsWith('/*+', token.start)) this.#hint ??= token.start;
      return;
    }
    const text = token.kind === 'quoted' ? '' : this.#sql.slice(token.start, token.end).toLowerCase();
    if (text === ';' && this.#nesting.isOutside) return this.#cut();
    this.#nesting.take(token, text);
    this.#start ??= this.#hint ?? token.start;
    this.#end = token.end;
  }

  /** Ends the last statement, which needs no semicolon, and returns all statements. */
  finish(): readonly Statement[] {
    this.#cut();
    return this.#statements;
  }

  /** Ends the current statement. Stores it unless it is empty. */
  #cut(): void {
    if (this.#start !== undefined) {
      this.#line += countNewlines(this.#sql, this.#countedUntil, this.#start);
      this.#countedUntil = this.#start;
      const text = this.#sql.slice(this.#start, this.#end);
      const statement = { text, line: this.#line, start: this.#start };
      this.#inspect?.(statement);
      this.#statements.push(statement);
    }
    this.#nesting = new Nesting();
    this.#start = this.#hint = undefined;
  }
}

/** Knows whether a semicolon would end the statement: not in parentheses, and not in `BEGIN ATOMIC … END`. */
class Nesting {
  /** The first four tokens: enough to tell `create or replace function`. */
  #head = '';
  #headWords = 0;
  #parentheses = 0;
  /** The number of `BEGIN ATOMIC` and, inside, `CASE` that are not yet closed by `END`. */
  #blocks = 0;
  /** The token before, in lower case. */
  #previous = '';

  /** Whether a semicolon would end the statement. */
  get isOutside(): boolean {
    return this.#parentheses === 0 && this.#blocks === 0;
  }

  /** Takes the next token of the statement. `text` is in lower case, and empty for a quoted token. */
  take(token: Token, text: string): void {
    if (text === '(') this.#parentheses++;
    else if (text === ')') this.#parentheses = Math.max(0, this.#parentheses - 1);
    else if (token.kind === 'word' && this.#parentheses === 0) this.#takeWord(text);
    if (this.#headWords < 4) this.#head += `${text} `;
    this.#headWords++;
    this.#previous = text;
  }

  /** Counts the blocks that a word outside parentheses opens or closes. */
  #takeWord(word: string): void {
    // Here the word is the name of a column or a label.
    if (this.#previous === '.' || this.#previous === 'as') return;
    if (this.#blocks > 0 && word === 'case') this.#blocks++;
    else if (this.#blocks > 0 && word === 'end') this.#blocks--;
    else if (word === 'atomic' && this.#previous === 'begin' && this.#isRoutine()) this.#blocks++;
  }

  /** Says whether the statement creates a function or a procedure: only their bodies are in `BEGIN ATOMIC … END`. */
  #isRoutine(): boolean {
    return /^create (?:or replace )?(?:function|procedure) /.test(this.#head);
  }
}
