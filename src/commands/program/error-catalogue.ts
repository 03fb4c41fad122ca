import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { didYouMean, EtlError } from '../../errors.js';
import { PACKAGE } from './manifest.js';

/** The description of one error code. All texts are Markdown. */
export interface ErrorDescription {
  readonly code: string;
  /** The failure, as a clause: `a database can't be reached`. */
  readonly what: string;
  readonly why: string;
  /** The advice for the user. */
  readonly fix: string;
  /** Code or a command that causes the error. */
  readonly example: string;
}

/** A section of the page: the heading, the reason, the fix and the example. */
const SECTION =
  /^### (ETL-\d{4}): (.*)\n\n([\s\S]*?)\n\n\*\*What to do:\*\* ([\s\S]*?)\n\n```\w+\n([\s\S]*?)\n```$/gm;

/**
 * Reads the descriptions of all error codes from `docs/errors.md`, in the order of the page. The page is the only place
 * where the codes are described.
 */
export function readErrorCatalogue(): readonly ErrorDescription[] {
  return parseErrorCatalogue(readFileSync(join(PACKAGE, 'docs/errors.md'), 'utf8'));
}

/** Parses the text of `docs/errors.md`. */
export function parseErrorCatalogue(page: string): readonly ErrorDescription[] {
  return Array.from(page.matchAll(SECTION), ([, code = '', what = '', why = '', fix = '', example = '']) => ({
    code,
    what,
    why: joinWrapped(why),
    fix: joinWrapped(fix),
    example,
  }));
}

/** Joins the lines of each paragraph, so that a terminal wraps them. */
function joinWrapped(text: string): string {
  return text.replaceAll(/(?<!\n)\n(?!\n)/g, ' ');
}

/**
 * Finds the description of a code that a person typed: `ETL-2201`, `etl-2201` or `2201`. Throws `EtlError` ETL-2017 for a
 * code that does not exist.
 */
export function findErrorDescription(
  catalogue: readonly ErrorDescription[],
  typed: string,
): ErrorDescription {
  const code = `ETL-${typed
    .trim()
    .toUpperCase()
    .replace(/^ETL-?/, '')}`;
  const found = catalogue.find((each) => each.code === code);
  if (found !== undefined) return found;
  throw new EtlError('ETL-2017', {
    what: `there is no error ${JSON.stringify(typed.slice(0, 60))}${didYouMean(
      code,
      catalogue.map((each) => each.code),
    )}`,
    fix: '`etl explain` lists all codes',
  });
}
