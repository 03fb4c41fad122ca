/** A line of a `.env` file that can't be read. The texts never quote the line, which can have a secret. */
export interface EnvironmentFault {
  /** The number of the line, from 1. */
  readonly line: number;
  readonly why: string;
  readonly fix: string;
}

/** The variables of a `.env` file by name, or the first line that can't be read. */
export type ParsedEnvironment = ReadonlyMap<string, string> | EnvironmentFault;

/** Matches the begin of a line with a variable: `NAME=`, also after `export`. */
const NAME = /[^\S\n]*(?:export[^\S\n]+)?([\w.-]+)[^\S\n]*=[^\S\n]*/y;
/** Matches a line, or the rest of a line, with nothing or a comment. */
const REST_OF_LINE = /[^\S\n]*(?:#[^\n]*)?(?:\n|$)/y;
/** Matches a value without quotes, up to a comment or to the end of the line. */
const BARE_VALUE = /([^#\n]*)(#[^\n]*)?(?:\n|$)/y;

/**
 * Parses the text of a `.env` file by the rules that the package dotenv documents: `NAME=value`, `export`, comments,
 * values in single and double quotes and backticks, also over several lines. Inside double quotes `\n` and `\r` are line
 * breaks, and `\"` is a quotation mark. Nothing else is expanded. The last value of a name counts.
 *
 * A text that tools read in different ways is a fault and not a guess.
 * https://github.com/motdotla/dotenv#what-rules-does-the-parsing-engine-follow
 */
export function parseEnvironment(source: string): ParsedEnvironment {
  // All line ends count, also that of old Macs, because a file without a line break would be one variable.
  const text = source.replace(/\r\n?/g, '\n');
  const values = new Map<string, string>();
  let at = 0;
  while (at < text.length) {
    const blank = matchAt(REST_OF_LINE, text, at);
    if (blank) {
      at += blank[0].length;
      continue;
    }
    const found = readVariable(text, at);
    if ('why' in found) return { line: text.slice(0, at).split('\n').length, why: found.why, fix: found.fix };
    values.set(found.name, found.value);
    at = found.end;
  }
  return values;
}

/** A variable, and the index after its line. */
interface Variable {
  readonly name: string;
  readonly value: string;
  readonly end: number;
}

type Fault = Omit<EnvironmentFault, 'line'>;

/** Reads the variable whose line begins at `at`. */
function readVariable(text: string, at: number): Variable | Fault {
  const head = matchAt(NAME, text, at);
  if (head === undefined) return explainLine(text.slice(at).split('\n', 1)[0] ?? '');
  const [before, name = ''] = head;
  const start = at + before.length;
  const found = /["'`]/.test(text.charAt(start)) ? readQuoted(text, start) : readBare(text, start);
  if ('why' in found) return { why: `the value of ${name} ${found.why}`, fix: found.fix };
  if (found.value.includes('\0'))
    return { why: `the value of ${name} has a NUL character`, fix: 'remove the character' };
  return { name, ...found };
}

/** Reads a value in quotes whose first quote is at `start`. */
function readQuoted(text: string, start: number): Omit<Variable, 'name'> | Fault {
  const quote = text.charAt(start);
  const close = findClosingQuote(text, start);
  if (close === undefined)
    return { why: `begins with ${quote}, and no ${quote} ends it`, fix: `end the value with ${quote}` };
  const rest = matchAt(REST_OF_LINE, text, close + 1);
  if (rest === undefined)
    return {
      why: `has more text after the closing ${quote}`,
      fix: 'put the whole value into one kind of quotes that it does not contain',
    };
  const raw = text.slice(start + 1, close);
  const end = close + 1 + rest[0].length;
  if (quote !== '"') return { value: raw, end };
  // dotenv reads a backslash and a line break, and a shell reads a backslash and a letter.
  if (/(?<!\\)(?:\\\\)+[nr]/.test(raw))
    return {
      why: 'has two backslashes before n or r in double quotes, which tools read in different ways',
      fix: 'write the value in single quotes, where a backslash is a backslash',
    };
  return { value: raw.replace(/\\(["nr\\])/g, (all, letter: string) => ESCAPES[letter] ?? all), end };
}

/** The escapes in double quotes. Any other backslash stays as it is. */
const ESCAPES: Readonly<Record<string, string>> = { '"': '"', n: '\n', r: '\r' };

/** Returns the index of the quote that ends a value. In double quotes, a backslash escapes the next character. */
function findClosingQuote(text: string, start: number): number | undefined {
  const quote = text.charAt(start);
  for (let at = start + 1; at < text.length; at++) {
    if (text.charAt(at) === quote) return at;
    if (quote === '"' && text.charAt(at) === '\\') at++;
  }
  return undefined;
}

/** Reads a value without quotes. The blanks around it do not count. */
function readBare(text: string, start: number): Omit<Variable, 'name'> | Fault {
  const [all = '', raw = '', comment] = matchAt(BARE_VALUE, text, start) ?? [];
  // dotenv ends the value here, and a shell does not.
  if (comment !== undefined && !/\s$/.test(text.slice(0, start) + raw))
    return {
      why: 'has a # without a blank before it, which tools read in different ways',
      fix: 'put the value into single quotes, or a blank before the # of a comment',
    };
  return { value: raw.trim(), end: start + all.length };
}

/** Says why a line is not `NAME=value`. */
function explainLine(line: string): Fault {
  if (/^\s*[\w.-]+\s*:/.test(line))
    return { why: 'the line has a colon in place of =', fix: 'write NAME=value' };
  if (!line.includes('='))
    return { why: 'the line has no =', fix: 'write NAME=value, or # before a comment' };
  return {
    why: 'the text before the = is not a name',
    fix: 'a name has letters, digits and characters of _ . - and no blank; write NAME=value',
  };
}

/** Matches a regular expression with the flag `y` at an index. */
function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text) ?? undefined;
}
