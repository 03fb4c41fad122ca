import { isAbsolute, relative } from 'node:path';
import { userFrames, type Frame } from './config/stack.js';

/** Where the user's code called us. Opaque: read it with `placeText` or `placeFrame`. */
export interface Place {
  /** V8 formats it on the first read, which costs ten times as much as the capture. */
  readonly stack?: string;
}

/**
 * The place in the user's code that called `below`, an exported function of ours. Costs about 2 µs: one frame is kept,
 * and nothing is formatted before somebody asks for it.
 */
export function capturePlace(below: (...args: never[]) => unknown): Place {
  const place: Place = {};
  capture(place, below);
  return place;
}

/**
 * Places that are asked for again and again: a loop that defines 100,000 tasks has one place, and keeping it once makes
 * the Dag a fifth smaller. For one definition only, while no file can change under its name.
 */
export class PlaceCache {
  readonly #places = new Map<number, { readonly file: string | null; readonly place: Place }[]>();

  /** As `capturePlace`. */
  capture(below: (...args: never[]) => unknown): Place {
    const site = siteOf(below);
    if (site === undefined) return capturePlace(below);
    const position = site.getPosition();
    const file = site.getFileName();
    const known = this.#places.get(position)?.find((each) => each.file === file);
    if (known !== undefined) return known.place;
    const place = capturePlace(below);
    this.#places.set(position, [...(this.#places.get(position) ?? []), { file, place }]);
    return place;
  }
}

/** The frame as V8 has it, for a comparison: a text of it costs ten times as much. */
function siteOf(below: (...args: never[]) => unknown): Site | undefined {
  // oxlint-disable-next-line typescript/unbound-method -- it is put back, not called
  const { prepareStackTrace } = Error;
  Error.prepareStackTrace = firstSite;
  try {
    const holder: { readonly stack?: Site } = {};
    capture(holder, below);
    return holder.stack;
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
  }
}

/** `getPosition` is there since V8 6 and missing in the types of Node. */
type Site = NodeJS.CallSite & { getPosition(): number };

function firstSite(_error: Error, [first]: NodeJS.CallSite[]): NodeJS.CallSite | undefined {
  return first;
}

function capture(holder: object, below: (...args: never[]) => unknown): void {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 1;
  Error.captureStackTrace(holder, below);
  Error.stackTraceLimit = limit;
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
