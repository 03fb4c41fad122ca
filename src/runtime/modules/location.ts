import { isAbsolute, relative } from 'node:path';
import { listUserFrames, type Frame } from './stack.js';

/** The config that a Dag belongs to. All locations of one Dag share one `ConfigRoot`. */
export interface ConfigRoot {
  /** The directory of the config. Empty until the config is loaded; an empty directory means the working directory. */
  directory: string;
  /** Describes the code of tasks. Undefined until the config is loaded. */
  code?: CodeDescriber;
  /** The words for messages that say where the Dag comes from, if that is no file: `the command line (etl load)`. */
  origin?: string;
}

/** Describes the code of tasks for their fingerprints. */
export interface CodeDescriber {
  /** Differs in each process. */
  readonly nonce: string;
  /** Describes the values that decide what a task does, by the words that name them in messages. */
  describe(values: Readonly<Record<string, unknown>>): Promise<CodeDescription>;
  /** Frees what `describe` needs. Another call of `describe` is still allowed. */
  close(): void;
}

/** The parts of the code and of the values of a task. */
export interface CodeDescription {
  /** By subject, such as `the function "total" in src/helper.ts`: a hash, or the version of a package. */
  readonly parts: ReadonlyMap<string, string>;
  /** The subjects of which nobody can tell whether they have changed. */
  readonly undecided: ReadonlySet<string>;
  /** True if the values contain a function. */
  readonly usesCode: boolean;
}

/**
 * A position in the user's code from which a function of ours was called. Read it with `formatLocation` or
 * `getLocationFrame`.
 */
export interface Location {
  readonly root: ConfigRoot;
  /** The stack of one frame. V8 formats the stack on the first read, which costs ten times as much as the capture. */
  readonly stack?: string;
  /** The location of a task that was defined shortly before, if the location itself was not captured. */
  readonly near?: Location;
}

/**
 * Captures the location in the user's code that called `below`, an exported function of ours. A capture takes about 2
 * µs: it stores one stack frame, and V8 formats the frame only if somebody reads the location. `root` is the config
 * that the location belongs to.
 */
export function captureLocation(
  below: (...args: never[]) => unknown,
  root: ConfigRoot = { directory: '' },
): Location {
  const location: Location = { root };
  // The limit is global, so it is set back at once.
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 1;
  Error.captureStackTrace(location, below);
  Error.stackTraceLimit = limit;
  return location;
}

/** Sets the config of all locations of a Dag. The first argument is any location of the Dag. */
export function setRoot({ root }: Location, directory: string, code?: CodeDescriber, origin?: string): void {
  root.directory = directory;
  if (code !== undefined) root.code = code;
  if (origin !== undefined) root.origin = origin;
}

/** The number of tasks of a Dag, from the first, whose locations are exact. */
const EXACT_LOCATIONS = 1000;
/** One in 32 of the later tasks has an exact location. */
const EXACT_EVERY = 32;

/**
 * Captures the locations of the tasks of one Dag. A capture takes longer than the rest of a definition, and one
 * location takes 360 bytes. So most tasks after the first 1,000 get the location of a task that was defined shortly
 * before. Messages then say `near etl.config.ts:41:5`.
 */
export class TaskLocations {
  readonly #root: ConfigRoot;
  #captured = 0;
  #near: Location;

  constructor(root: ConfigRoot) {
    this.#root = root;
    this.#near = { root };
  }

  /**
   * Captures a location as `captureLocation` does. After the first 1,000 tasks of the Dag, only each 32nd call
   * captures; the other calls return the location before, marked as near.
   */
  capture(below: (...args: never[]) => unknown): Location {
    this.#captured++;
    if (this.#captured > EXACT_LOCATIONS && this.#captured % EXACT_EVERY !== 0) return this.#near;
    const location = captureLocation(below, this.#root);
    this.#near = { root: this.#root, near: location };
    return location;
  }
}

/**
 * Returns the file, line and column of a location in the file as the user wrote it. Returns undefined if V8 knows no
 * file, or if the Dag comes from no file.
 */
export function getLocationFrame(location: Location): Frame | undefined {
  if (location.root.origin !== undefined) return undefined;
  return listUserFrames((location.near ?? location).stack)[0];
}

/**
 * Formats a location for messages: `etl.config.ts:41:5` or `near etl.config.ts:41:5`. The path is relative to the
 * directory of the config if that is shorter.
 */
export function formatLocation(location: Location): string {
  if (location.root.origin !== undefined) return location.root.origin;
  const frame = getLocationFrame(location);
  if (frame === undefined) return 'an unknown location';
  return `${location.near === undefined ? '' : 'near '}${formatPosition(frame.file, frame, location.root.directory)}`;
}

/** Says where a task comes from: `task defined at etl.config.ts:41:5`, or `task of the command line (etl load)`. */
export function formatTaskOrigin(location: Location): string {
  return `task ${location.root.origin === undefined ? 'defined at' : 'of'} ${formatLocation(location)}`;
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
