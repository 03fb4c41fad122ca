import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { EtlError } from '../../errors.js';
import { getLocationFrame, formatPosition, shortenPath } from '../modules/location.js';
import { findExportPosition, findKeyPosition, START, findSpecifierPosition } from './position.js';
import { ShapeError } from './define.js';
import type { ShapeProblem } from './shape.js';
import type { ConfigFile } from '../modules/source-text.js';
import { findOriginalFrame, listUserFrames, type Frame } from '../modules/stack.js';

/** What is known about a config that failed to load. */
export interface LoadContext {
  readonly configFile: ConfigFile;
  /** The working directory. */
  readonly directory: string;
  /** The directory of our own code: its frames say nothing to the user. */
  readonly ours: string;
}

const PARSE_ERROR = /^ParseError: ([\s\S]*?)\s*\n\s*(\S.*):(\d+):(\d+)\s*$/;
const NOT_FOUND_CODES = new Set([
  'MODULE_NOT_FOUND',
  'ERR_MODULE_NOT_FOUND',
  'ERR_PACKAGE_PATH_NOT_EXPORTED',
]);

/** One error for the user from whatever was thrown while a config was loading: with a place in the user's files. */
export function createLoadError(error: unknown, context: LoadContext): EtlError {
  if (error instanceof ShapeError)
    return createShapeError(error.problem, context, getLocationFrame(error.location));
  if (error instanceof EtlError) return error;
  return (
    createParseError(error, context) ??
    createNotFoundError(error, context) ??
    createV8SyntaxError(error, context) ??
    createThrownError(error, context)
  );
}

/** A mistake in the value of a config, at its key in `called`, the place of `defineConfig`, or in the config file. */
export function createShapeError(
  problem: ShapeProblem,
  { configFile, directory }: Pick<LoadContext, 'configFile' | 'directory'>,
  called?: Frame,
): EtlError {
  const { file, text } =
    called === undefined ? configFile : { file: called.file, text: readText(called.file) };
  const language = /\.[cm]?[jt]s$/.test(file) ? 'js' : 'data';
  const found = problem.location === undefined ? undefined : getLocationFrame(problem.location);
  const start = (language === 'js' ? findExportPosition(text) : undefined) ?? START;
  const position = found ?? findKeyPosition(text, problem.path, language) ?? called ?? start;
  return new EtlError('ETL-2106', {
    ...problem,
    where: formatPosition(found?.file ?? file, position, directory),
  });
}

/** A mistake that Babel, the parser of jiti, has found; its columns count from 0. */
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

/** An import of a module that is not there. The one who asks is the user's file; one of a package is just thrown. */
function createNotFoundError(
  error: unknown,
  { configFile, directory, ours }: LoadContext,
): EtlError | undefined {
  if (!(error instanceof Error && 'code' in error && NOT_FOUND_CODES.has(String(error.code))))
    return undefined;
  const specifier = /'([^']+)'/.exec(error.message)?.[1] ?? 'a module';
  const importer = findImporter(error) ?? listUserFrames(error.stack, ours)[0]?.file ?? configFile.file;
  if (importer.includes('/node_modules/') || !existsSync(importer)) return undefined;
  const position = findSpecifierPosition(readText(importer), specifier);
  const isPath = /^[./]/.test(specifier);
  return new EtlError('ETL-2104', {
    what: `The config ${configFile.name} could not be loaded`,
    where: formatPosition(importer, position, directory),
    why: `Cannot find ${isPath ? 'the file' : 'the package'} "${specifier}", which ${shortenPath(importer, directory)} imports`,
    fix: isPath ? 'Correct the path.' : `Correct the name, or install it: \`npm install ${specifier}\`.`,
    cause: error,
  });
}

/** Node's list of who required what, the last one first. */
function findImporter(error: Error): string | undefined {
  const stack: unknown = 'requireStack' in error ? error.requireStack : undefined;
  const [first]: unknown[] = Array.isArray(stack) ? stack : [];
  return typeof first === 'string' ? first : undefined;
}

/** A mistake that Babel allows and V8 does not, such as a wrong regular expression: its stack begins with it. */
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

function createSyntaxError(
  reason: string,
  frame: Frame,
  { directory, cause }: { directory: string; cause: unknown },
): EtlError {
  return new EtlError('ETL-2103', {
    what: `${shortenPath(frame.file, directory)} could not be read`,
    where: formatPosition(frame.file, frame, directory),
    why: `Syntax error: ${reason}`,
    fix: 'Correct the file at this place.',
    cause,
  });
}

/** Whatever the user's code has thrown itself: its own name and message, at the innermost line of the user. */
function createThrownError(error: unknown, { configFile, directory, ours }: LoadContext): EtlError {
  const frame = error instanceof Error ? listUserFrames(error.stack, ours)[0] : undefined;
  return new EtlError('ETL-2104', {
    what: `The config ${configFile.name} threw an error while it was loading`,
    where: formatPosition(frame?.file ?? configFile.file, frame, directory),
    why:
      error instanceof Error
        ? `${error.name}: ${removeFrames(error.message)}`
        : `It threw ${describe(error)}`,
    fix: 'Correct the code at this place; nothing was started.',
    cause: error,
  });
}

function describe(value: unknown): string {
  return typeof value === 'string' ? `the text "${value}"` : `a value that is no Error (${typeof value})`;
}

/** Some libraries write a stack into their messages. */
function removeFrames(message: string): string {
  return message
    .split('\n')
    .filter((line) => !/^\s+at /.test(line))
    .join('\n');
}

function readText(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}
