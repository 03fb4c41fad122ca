import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { EtlError } from '../../errors.js';
import { getLocationFrame, formatPosition, shortenPath } from '../modules/location.js';
import { findExportPosition, findKeyPosition, START } from './position.js';
import { createNotFoundError, type LoadContext } from './not-found-error.js';
import { ShapeError } from './shape.js';
import { readIfReadable } from '../modules/packages.js';
import { formatCaretExcerpt } from '../sql/excerpt.js';
import { findOriginalFrame, listUserFrames, type Frame } from '../modules/stack.js';

/** Matches the message of a syntax error of jiti: the reason, and then file, line and column on a line of their own. */
const PARSE_ERROR = /^ParseError: ([\s\S]*?)\s*\n\s*(\S.*):(\d+):(\d+)\s*$/;

/**
 * Turns anything that was thrown while a config was loading into an error with a location in the user's files. Returns
 * an `EtlError` other than `ShapeError` unchanged.
 */
export function createLoadError(error: unknown, context: LoadContext): EtlError {
  if (error instanceof ShapeError) return createShapeError(error, context);
  if (error instanceof EtlError) return error;
  return (
    createParseError(error, context) ??
    createNotFoundError(error, context) ??
    createV8SyntaxError(error, context) ??
    createForbiddenError(error, context) ??
    createThrownError(error, context)
  );
}

/**
 * Adds the position of the wrong key to a `ShapeError`. The key is searched in the file that calls `defineConfig`, or
 * in the config file if nothing calls it.
 */
function createShapeError(error: ShapeError, { configFile, directory }: LoadContext): EtlError {
  const called = error.called && getLocationFrame(error.called);
  const { file, text } = called ? { file: called.file, text: readIfReadable(called.file) ?? '' } : configFile;
  const language = /\.[cm]?[jt]sx?$/.test(file) ? 'js' : 'data';
  const found = error.location && getLocationFrame(error.location);
  const start = (language === 'js' ? findExportPosition(text) : undefined) ?? START;
  // The best position that is known: of the mistake, of its key, of the call of `defineConfig`, or the beginning of the
  // config.
  const position = found ?? findKeyPosition(text, error.path, language) ?? called ?? start;
  return new EtlError('ETL-2106', {
    what: error.message,
    where: formatPosition(found?.file ?? file, position, directory),
    why: error.why,
    fix: error.fix,
  });
}

/**
 * Creates the error for a syntax error that Babel, the parser of jiti, has found. Returns undefined for any other
 * error. Babel's columns count from 0.
 */
function createParseError(error: unknown, { directory }: LoadContext): EtlError | undefined {
  const match = error instanceof Error ? PARSE_ERROR.exec(error.message) : null;
  if (match === null) return undefined;
  const [, reason = '', file = '', line, column] = match;
  return createSyntaxError(
    reason,
    { file, line: Number(line), column: Number(column) + 1 },
    { directory, cause: error },
  );
}

/**
 * Creates the error for a syntax error that V8 finds and Babel does not, such as a wrong regular expression. Returns
 * undefined for any other error. The stack of such an error begins with the file and the line, then the text of the
 * line, then a caret below the column:
 *
 *     /project/etl.config.ts:3
 *     const pattern = /(/;
 *                     ^^^
 */
function createV8SyntaxError(error: unknown, { directory }: LoadContext): EtlError | undefined {
  if (!(error instanceof SyntaxError)) return undefined;
  const lines = (error.stack ?? '').split('\n');
  const [, location = '', line] = /^(.*):(\d+)$/.exec(lines[0] ?? '') ?? [];
  const file = location.startsWith('file:') ? fileURLToPath(location) : location;
  if (!existsSync(file)) return undefined;
  const caret = lines.find((each) => /^\s*\^+\s*$/.test(each)) ?? '^';
  const frame = findOriginalFrame({ file, line: Number(line), column: caret.indexOf('^') + 1 });
  return createSyntaxError(error.message, frame, { directory, cause: error });
}

/** Creates the error ETL-2103 for a syntax error. `frame` is its position in the file as the user wrote it. */
function createSyntaxError(
  reason: string,
  frame: Frame,
  { directory, cause }: { directory: string; cause: unknown },
): EtlError {
  const line = (readIfReadable(frame.file) ?? '').split('\n')[frame.line - 1] ?? '';
  return new EtlError('ETL-2103', {
    what: `${shortenPath(frame.file, directory)} has a syntax error`,
    where: `${formatPosition(frame.file, frame, directory)}\n${formatCodeLine(line, frame.column)}`,
    why: reason,
    fix: 'correct the file at this location or just before it',
    cause,
  });
}

/**
 * Creates the error for a file of the config that this user may not read, as in an image that another user has built.
 * Returns undefined for any other error.
 */
function createForbiddenError(
  error: unknown,
  { configFile, directory, ours }: LoadContext,
): EtlError | undefined {
  const { code, path, stack } = error as NodeJS.ErrnoException;
  if ((code !== 'EACCES' && code !== 'EPERM') || path === undefined) return undefined;
  const [frame] = listUserFrames(stack, ours);
  return new EtlError('ETL-2104', {
    what: `the config ${configFile.name} could not be loaded`,
    where: formatPosition(frame?.file ?? configFile.file, frame, directory),
    why: `this user may not read ${shortenPath(path, directory)} (${code})`,
    fix: 'give this user access to the file and to the directories above it',
    cause: error,
  });
}

/**
 * Formats a line of code with a caret below a column. The contents of quotes are hidden: they can be a password, and no
 * secret of the config is known before the config has run.
 */
function formatCodeLine(line: string, column: number): string {
  const shown = line.replaceAll(/(["'`])(?:\\.|(?!\1).)*\1?/g, (text) =>
    text.replaceAll(/(?<=.)[^"'`]/g, '…'),
  );
  return formatCaretExcerpt(shown, column);
}

/**
 * Creates the error for anything else that the user's code has thrown. The error has the name and message of the thrown
 * error, and the location of the innermost stack frame in the user's code.
 */
function createThrownError(error: unknown, { configFile, directory, ours }: LoadContext): EtlError {
  const frame = error instanceof Error ? listUserFrames(error.stack, ours)[0] : undefined;
  return new EtlError('ETL-2104', {
    what: `the config ${configFile.name} threw an error while it was loading`,
    where: formatPosition(frame?.file ?? configFile.file, frame, directory),
    why:
      error instanceof Error
        ? `${error.name}: ${removeFrames(error.message)}`
        : `the code threw ${describe(error)}`,
    fix: 'correct the code at this location; nothing was started',
    cause: error,
  });
}

/** Describes a thrown value that is not an `Error`. Shows only a text. */
function describe(value: unknown): string {
  return typeof value === 'string' ? `the text "${value}"` : `a value that is not an Error (${typeof value})`;
}

/** Removes stack frames from a message. Some libraries write a stack into their messages. */
function removeFrames(message: string): string {
  return message
    .split('\n')
    .filter((line) => !/^\s+at /.test(line))
    .join('\n');
}
