import { isAbsolute, relative } from 'node:path';
import { listUserFrames, type Frame } from './stack.js';

/** The directory of the config that code belongs to. Empty until the config is loaded: it stands for the working directory. */
export interface ConfigRoot {
  directory: string;
}

/** Where the user's code called us. Opaque: read it with `placeText` or `placeFrame`. */
export interface Location {
  /** Shared by all places of one Dag. */
  readonly root: ConfigRoot;
  /** V8 formats it on the first read, which costs ten times as much as the capture. */
  readonly stack?: string;
  /** It is that of a task shortly before. */
  readonly isNear?: true;
}

/**
 * The place in the user's code that called `below`, an exported function of ours. Costs about 2 µs: one frame is kept,
 * and nothing is formatted before somebody asks for it.
 */
export function captureLocation(
  below: (...args: never[]) => unknown,
  root: ConfigRoot = { directory: '' },
): Location {
  const location: Location = { root };
  capture(location, below);
  return location;
}

/** Says which directory the config of a Dag is in, once for each config that is loaded. `place` is any place of the Dag. */
export function setRoot({ root }: Location, directory: string): void {
  root.directory = directory;
}

/** So many places of a Dag are exact; of those after them one in so many is. */
const EXACT_LOCATIONS = 1000;
const EXACT_EVERY = 16;

/**
 * The places of the tasks of one Dag. A loop that defines 100,000 tasks has one place, which is kept once; and as it
 * takes longer to find it than to define the task, most of a large Dag's tasks get the place of one shortly before them,
 * which messages say. For one definition only, while no file can change under its name.
 */
export class LocationCache {
  readonly #root: ConfigRoot;
  readonly #sites = new Map<number, KnownLocation[]>();
  #captured = 0;
  #last: KnownLocation | undefined;

  constructor(root: ConfigRoot) {
    this.#root = root;
  }

  /** As `capturePlace`. */
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

/** The frame as V8 has it, for a comparison: a text of it costs ten times as much. */
function getSite(below: (...args: never[]) => unknown): CallSite | undefined {
  // oxlint-disable-next-line typescript/unbound-method -- it is put back, not called
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

/** `getPosition` is there since V8 6 and missing in the types of Node. */
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

/** File, line and column in the file as the user wrote it; undefined where V8 knows of no file. */
export function getLocationFrame(location: Location): Frame | undefined {
  return listUserFrames(location.stack)[0];
}

/** `etl.config.ts:41:5`, or `near` it: the path is relative to the directory of the config where that is shorter. */
export function formatLocation(location: Location): string {
  const frame = getLocationFrame(location);
  if (frame === undefined) return 'an unknown place';
  return `${location.isNear ? 'near ' : ''}${formatPosition(frame.file, frame, location.root.directory)}`;
}

/** `etl.config.ts:41:5`, or the bare name of the file where the position is not known. */
export function formatPosition(
  file: string,
  position: Omit<Frame, 'file'> | undefined,
  directory: string,
): string {
  const name = shortenPath(file, directory);
  return position === undefined ? name : `${name}:${position.line}:${position.column}`;
}

/** The name of a file for messages: relative to `directory` where that is shorter. */
export function shortenPath(file: string, directory: string): string {
  const near = relative(directory, file);
  return near !== '' && !isAbsolute(near) && near.length < file.length ? near : file;
}
