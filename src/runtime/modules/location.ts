import { isAbsolute, relative } from 'node:path';
import { listUserFrames, type Frame } from './stack.js';

/** The config that a Dag belongs to. All locations of one Dag share one `ConfigRoot`. */
export interface ConfigRoot {
  /** The directory of the config. Empty until the config is loaded; an empty directory means the working directory. */
  directory: string;
}

/**
 * A position in the user's code from which a function of ours was called. Read it with `formatLocation` or
 * `getLocationFrame`.
 */
export interface Location {
  readonly root: ConfigRoot;
  /** The stack of one frame. V8 formats the stack on the first read, which costs ten times as much as the capture. */
  readonly stack?: string;
  /** Set if this is the location of a task that was defined shortly before. */
  readonly isNear?: true;
}

/**
 * Captures the location in the user's code that called `below`, an exported function of ours. A capture takes about 2
 * µs: it stores one stack frame, and V8 formats the frame only if somebody reads the location.
 */
export function captureLocation(
  below: (...args: never[]) => unknown,
  root: ConfigRoot = { directory: '' },
): Location {
  const location: Location = { root };
  capture(location, below);
  return location;
}

/** Sets the directory of the config for all locations of a Dag. The first argument is any location of the Dag. */
export function setRoot({ root }: Location, directory: string): void {
  root.directory = directory;
}

/** The number of tasks of a Dag, from the first, whose locations are exact. */
const EXACT_LOCATIONS = 1000;
/** Of the tasks after them, one task in 16 has an exact location. */
const EXACT_EVERY = 16;

/**
 * Captures the locations of the tasks of one Dag. Two measures keep large Dags fast:
 *
 * - A loop that defines 100,000 tasks has one location, which is stored once.
 * - To find a location takes longer than to define a task. So most tasks after the first 1,000 get the location of a
 *   task that was defined shortly before. Messages then say `near etl.config.ts:41:5`.
 *
 * Use one cache for one call of `dag()` only: it compares file names, and assumes that no file changes in the meantime.
 */
export class LocationCache {
  readonly #root: ConfigRoot;
  readonly #sites = new Map<number, KnownLocation[]>();
  #captured = 0;
  #last: KnownLocation | undefined;

  constructor(root: ConfigRoot) {
    this.#root = root;
  }

  /** Captures a location as `captureLocation` does, or returns one that is near. */
  capture(below: (...args: never[]) => unknown): Location {
    this.#captured++;
    if (this.#last !== undefined && this.#captured > EXACT_LOCATIONS && this.#captured % EXACT_EVERY !== 0)
      return this.#last.near;
    this.#last = this.#getSite(below);
    return this.#last.location;
  }

  #getSite(below: (...args: never[]) => unknown): KnownLocation {
    const site = getSite(below);
    const position = site?.getPosition() ?? 0;
    const file = site?.getFileName();
    const known = this.#sites.get(position)?.find((each) => each.file === file);
    if (known !== undefined) return known;
    const location = captureLocation(below, this.#root);
    const added = { file, location, near: new NearLocation(location) };
    this.#sites.set(position, [...(this.#sites.get(position) ?? []), added]);
    return added;
  }
}

interface KnownLocation {
  readonly file: string | null | undefined;
  readonly location: Location;
  readonly near: Location;
}

class NearLocation implements Location {
  readonly isNear = true;
  readonly #location: Location;

  constructor(location: Location) {
    this.#location = location;
  }

  get root(): ConfigRoot {
    return this.#location.root;
  }

  get stack(): string {
    return this.#location.stack ?? '';
  }
}

/**
 * Returns the frame that called `below` as an object of V8, for comparisons. To format the frame takes ten times as
 * long.
 */
function getSite(below: (...args: never[]) => unknown): CallSite | undefined {
  // oxlint-disable-next-line typescript/unbound-method -- the function is restored below, not called
  const { prepareStackTrace } = Error;
  Error.prepareStackTrace = getFirstSite;
  try {
    const holder: { readonly stack?: CallSite } = {};
    capture(holder, below);
    return holder.stack;
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
  }
}

/** A call site of V8. The types of Node.js lack `getPosition`, which exists since V8 6. */
type CallSite = NodeJS.CallSite & { getPosition(): number };

function getFirstSite(_error: Error, [first]: NodeJS.CallSite[]): NodeJS.CallSite | undefined {
  return first;
}

function capture(holder: object, below: (...args: never[]) => unknown): void {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 1;
  Error.captureStackTrace(holder, below);
  Error.stackTraceLimit = limit;
}

/** Returns file, line and column in the file as the user wrote it. Returns undefined if V8 knows no file. */
export function getLocationFrame(location: Location): Frame | undefined {
  return listUserFrames(location.stack)[0];
}

/**
 * Formats a location for messages: `etl.config.ts:41:5` or `near etl.config.ts:41:5`. The path is relative to the
 * directory of the config if that is shorter.
 */
export function formatLocation(location: Location): string {
  const frame = getLocationFrame(location);
  if (frame === undefined) return 'an unknown location';
  return `${location.isNear ? 'near ' : ''}${formatPosition(frame.file, frame, location.root.directory)}`;
}

/** Formats a position in a file: `etl.config.ts:41:5`, or `etl.config.ts` if `position` is undefined. */
export function formatPosition(
  file: string,
  position: Omit<Frame, 'file'> | undefined,
  directory: string,
): string {
  const name = shortenPath(file, directory);
  return position === undefined ? name : `${name}:${position.line}:${position.column}`;
}

/** Returns the path of a file for messages: relative to `directory` if that is shorter. */
export function shortenPath(file: string, directory: string): string {
  const near = relative(directory, file);
  return near !== '' && !isAbsolute(near) && near.length < file.length ? near : file;
}
