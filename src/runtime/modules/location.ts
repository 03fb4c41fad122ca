import { isAbsolute, relative } from 'node:path';
import { userFrames, type Frame } from './stack.js';

/** The directory of the config that code belongs to. Empty until the config is loaded: it stands for the working directory. */
export interface ConfigRoot {
  directory: string;
}

/** Where the user's code called us. Opaque: read it with `placeText` or `placeFrame`. */
export interface Place {
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
export function capturePlace(
  below: (...args: never[]) => unknown,
  root: ConfigRoot = { directory: '' },
): Place {
  const place: Place = { root };
  capture(place, below);
  return place;
}

/** Says which directory the config of a Dag is in, once for each config that is loaded. `place` is any place of the Dag. */
export function setRoot({ root }: Place, directory: string): void {
  root.directory = directory;
}

/** So many places of a Dag are exact; of those after them one in so many is. */
const EXACT = 1000;
const EXACT_EVERY = 16;

/**
 * The places of the tasks of one Dag. A loop that defines 100,000 tasks has one place, which is kept once; and as it
 * takes longer to find it than to define the task, most of a large Dag's tasks get the place of one shortly before them,
 * which messages say. For one definition only, while no file can change under its name.
 */
export class PlaceCache {
  readonly #root: ConfigRoot;
  readonly #sites = new Map<number, KnownSite[]>();
  #captured = 0;
  #last: KnownSite | undefined;

  constructor(root: ConfigRoot) {
    this.#root = root;
  }

  /** As `capturePlace`. */
  capture(below: (...args: never[]) => unknown): Place {
    this.#captured++;
    if (this.#last !== undefined && this.#captured > EXACT && this.#captured % EXACT_EVERY !== 0)
      return this.#last.near;
    this.#last = this.#siteOf(below);
    return this.#last.place;
  }

  #siteOf(below: (...args: never[]) => unknown): KnownSite {
    const site = siteOf(below);
    const position = site?.getPosition() ?? 0;
    const file = site?.getFileName();
    const known = this.#sites.get(position)?.find((each) => each.file === file);
    if (known !== undefined) return known;
    const place = capturePlace(below, this.#root);
    const added = { file, place, near: new Near(place) };
    this.#sites.set(position, [...(this.#sites.get(position) ?? []), added]);
    return added;
  }
}

interface KnownSite {
  readonly file: string | null | undefined;
  readonly place: Place;
  readonly near: Place;
}

class Near implements Place {
  readonly isNear = true;
  readonly #place: Place;

  constructor(place: Place) {
    this.#place = place;
  }

  get root(): ConfigRoot {
    return this.#place.root;
  }

  get stack(): string {
    return this.#place.stack ?? '';
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

/** `etl.config.ts:41:5`, or `near` it: the path is relative to the directory of the config where that is shorter. */
export function placeText(place: Place): string {
  const frame = placeFrame(place);
  if (frame === undefined) return 'an unknown place';
  return `${place.isNear ? 'near ' : ''}${positionText(frame.file, frame, place.root.directory)}`;
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
