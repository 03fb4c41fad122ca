import { SourceMap, type SourceMapPayload } from 'node:module';
import { fileURLToPath } from 'node:url';
import { WRAPPER } from './compile.js';

/** A position in a file. Line and column count from 1. */
export interface Frame {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Matches a line of a stack: the path or `file:` URL (group 1), the line and the column. */
const FRAME = /^\s*at (?:async )?(?:.*? \()?((?:file:\/\/|\/|[A-Za-z]:[\\/]).*):(\d+):(\d+)\)?$/;
/** Matches a line of a stack for code in `eval`, with the position of the call of `eval`. */
const EVAL_FRAME = /^\s*at .*?eval at .*? \(((?:file:\/\/|\/|[A-Za-z]:[\\/]).*?):(\d+):(\d+)\)/;
const INLINE_MAP = /\/\/# sourceMappingURL=data:application\/json;[^,\n]*base64,([A-Za-z0-9+/=]+)/;

/** The directory of this program: `dist` or, without a build, `src`. */
const PROGRAM = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../../' : './', import.meta.url));

/**
 * The compiled code of the user's files, with an inline source map, by file. Files that Node.js runs without compiling
 * are not here. Locations in the code are read long after the config was loaded. One process loads one config, so one map
 * for the process is enough.
 */
export const compiledCode = new Map<string, string>();

/**
 * Lists the frames of a stack that are in the user's files, innermost first. Files in `node_modules`, of Node.js and of
 * this program are left out: `ours` is the directory of the program. Lines and columns are those of the files as the user wrote them. A frame in `eval`
 * gets the position of the call of `eval`.
 */
export function listUserFrames(stack: string | undefined, ours = PROGRAM): Frame[] {
  const frames: Frame[] = [];
  for (const line of stack?.split('\n') ?? []) {
    const frame = readFrame(line);
    if (frame === undefined) continue;
    if (/[\\/]node_modules[\\/]/.test(frame.file) || frame.file.startsWith(ours)) continue;
    frames.push(frame);
  }
  return frames;
}

/**
 * Reads the position in a line of a stack. The position is that of the file as the user wrote it. Returns undefined for a
 * line without a position in a file.
 */
export function readFrame(text: string): Frame | undefined {
  const location = EVAL_FRAME.exec(text) ?? FRAME.exec(text);
  if (location === null) return undefined;
  const [, path = '', row, column] = location;
  const frame = { file: getPath(path), line: Number(row), column: Number(column) };
  // Node.js runs ES modules itself and names them by URL. Only files that are named by a path may be compiled.
  return path.startsWith('file:') ? frame : findOriginalFrame(frame);
}

/**
 * Maps a frame of compiled code to the file as the user wrote it. Returns the same frame if no source map has an entry.
 */
export function findOriginalFrame(frame: Frame): Frame {
  const code = compiledCode.get(frame.file);
  const map = code === undefined ? null : INLINE_MAP.exec(code);
  if (map === null) return frame;
  const payload: SourceMapPayload = JSON.parse(Buffer.from(map[1] ?? '', 'base64').toString('utf8'));
  // Source maps count lines and columns from 0. The first line of the code comes after the wrapper.
  const column = Math.max(0, frame.column - 1 - (frame.line === 1 ? WRAPPER.length : 0));
  const entry = new SourceMap(payload).findEntry(frame.line - 1, column);
  if (!('originalLine' in entry)) return frame;
  const text = payload.sourcesContent[0]?.split('\n')[entry.originalLine] ?? '';
  return {
    file: frame.file,
    line: entry.originalLine + 1,
    column: findNameStart(text, entry.originalColumn) + 1,
  };
}

/**
 * Moves a column from the bracket of a call to the beginning of the function's name: from 4 to 0 in `dag1(…)`.
 * Compiling replaces the names of imported functions, so the source map leads to the bracket. V8 reports the name.
 */
function findNameStart(line: string, column: number): number {
  return line[column] === '(' ? column - (/[\w$]*$/.exec(line.slice(0, column))?.[0].length ?? 0) : column;
}

/** Returns the path of a path or a `file:` URL. Loaders add queries to URLs; the query is not part of the path. */
function getPath(location: string): string {
  return location.startsWith('file:') ? fileURLToPath(location.replace(/[?#].*$/, '')) : location;
}
