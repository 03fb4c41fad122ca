import { isAbsolute, relative } from 'node:path';
import { userFrames, type Frame } from './config/stack.js';

/** Where the user's code called us. Opaque: read it with `placeText` or `placeFrame`. */
export interface Place {
  /** V8 formats it on the first read, which costs ten times as much as the capture. */
  readonly stack?: string;
}

/**
 * The place in the user's code that called `below`, an exported function of ours. Costs about 2 µs, because a config
 * can define 100,000 tasks: one frame is kept, and nothing is formatted before somebody asks for it.
 */
export function capturePlace(below: (...args: never[]) => unknown): Place {
  const place: Place = {};
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 1;
  Error.captureStackTrace(place, below);
  Error.stackTraceLimit = limit;
  return place;
}

/** File, line and column in the file as the user wrote it; undefined where V8 knows of no file. */
export function placeFrame(place: Place): Frame | undefined {
  return userFrames(place.stack)[0];
}

/** `etl.config.ts:41:5`: the path is relative to `directory` where that is shorter. */
export function placeText(place: Place, directory: string): string {
  const frame = placeFrame(place);
  return frame === undefined ? 'an unknown place' : positionText(frame.file, frame, directory);
}

/** `etl.config.ts:41:5`, or the bare name of the file where the position is not known. */
export function positionText(
  file: string,
  position: Omit<Frame, 'file'> | undefined,
  directory: string,
): string {
  const name = shortName(file, directory);
  return position === undefined ? name : `${name}:${position.line}:${position.column}`;
}

/** The name of a file for messages: relative to `directory` where that is shorter. */
export function shortName(file: string, directory: string): string {
  const near = relative(directory, file);
  return near !== '' && !isAbsolute(near) && near.length < file.length ? near : file;
}
