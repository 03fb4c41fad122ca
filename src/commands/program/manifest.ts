import type * as Interfaces from '@oclif/core/interfaces';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The directory of the package, from the bundle in its folder `dist`. */
export const PACKAGE = fileURLToPath(new URL('../', import.meta.url));

let read: Interfaces.PJSON | undefined;

/** The package file. */
export function readManifest(): Interfaces.PJSON {
  read ??= JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as Interfaces.PJSON;
  return read;
}
