import { SourceMap, type SourceMapPayload } from 'node:module';
import { fileURLToPath } from 'node:url';
import { WRAPPER } from './compile.js';

/** A position in a file: line and column count from 1. */
export interface Frame {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** The code that runs in place of `file`, with an inline source map; undefined where the file runs as it is. */
export type CompiledCode = (file: string) => string | undefined;

const FRAME = /^\s*at (?:async )?(?:.*? \()?((?:file:\/\/|\/|[A-Za-z]:[\\/]).*):(\d+):(\d+)\)?$/;
const EVAL_FRAME = /^\s*at .*?eval at .*? \(((?:file:\/\/|\/|[A-Za-z]:[\\/]).*?):(\d+):(\d+)\)/;
const INLINE_MAP = /\/\/# sourceMappingURL=data:application\/json;[^,\n]*base64,([A-Za-z0-9+/=]+)/;

// One process loads one config; places in its code are read long after loading, so the way back has to be kept here.
let compiledCode: CompiledCode = () => undefined;

/** Tells every later `userFrames` how to find the code that runs in place of a user's file. */
export function rememberCompiled(lookup: CompiledCode): void {
  compiledCode = lookup;
}

/**
 * The frames of a stack, innermost first, that lie in files outside of `node_modules`, of Node, and of the directory
 * `ours`; with the lines and columns of the files as the user wrote them. Code in `eval` counts for its caller.
 */
export function listUserFrames(stack: string | undefined, ours?: string): Frame[] {
  const frames: Frame[] = [];
  for (const line of stack?.split('\n') ?? []) {
    const location = EVAL_FRAME.exec(line) ?? FRAME.exec(line);
    if (location === null) continue;
    const [, path = '', row, column] = location;
    const frame = { file: getPath(path), line: Number(row), column: Number(column) };
    if (/[\\/]node_modules[\\/]/.test(frame.file) || (ours !== undefined && frame.file.startsWith(ours)))
      continue;
    frames.push(path.startsWith('file:') ? frame : findOriginalFrame(frame));
  }
  return frames;
}

/** Where the user wrote what runs at `frame`. The frame itself where no source map says more. */
export function findOriginalFrame(frame: Frame): Frame {
  const code = compiledCode(frame.file);
  const map = code === undefined ? null : INLINE_MAP.exec(code);
  if (map === null) return frame;
  const payload: SourceMapPayload = JSON.parse(Buffer.from(map[1] ?? '', 'base64').toString('utf8'));
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

/** The map leads to the bracket of the call of an imported function, whose name was replaced; V8 counts from the name. */
function findNameStart(line: string, column: number): number {
  return line[column] === '(' ? column - (/[\w$]*$/.exec(line.slice(0, column))?.[0].length ?? 0) : column;
}

/** A path from a path or a `file:` URL; loaders add queries to URLs, which are not part of the file. */
function getPath(location: string): string {
  return location.startsWith('file:') ? fileURLToPath(location.replace(/[?#].*$/, '')) : location;
}
