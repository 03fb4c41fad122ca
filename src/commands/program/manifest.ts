import type * as Interfaces from '@oclif/core/interfaces';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The directory of the package. This file is part of the bundle in the directory `dist`. */
export const PACKAGE = fileURLToPath(new URL('../', import.meta.url));

let manifest: Interfaces.PJSON | undefined;

/** Returns the content of our package.json. Reads the file at the first call only. */
export function readManifest(): Interfaces.PJSON {
  manifest ??= JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  ) as Interfaces.PJSON;
  return manifest;
}
