import { resolve } from 'node:path';
import { formatDsn } from '../../hooks/connection.js';
import type { GivenWords } from '../../runtime/report/command-line.js';
import type { Program } from './program.js';

/** The flags that decide which config and which connections a command works with. */
interface LocatingFlags {
  readonly config?: string | undefined;
  readonly conn?: readonly string[] | undefined;
}

/**
 * Lists the words that another call needs to work on the same config and the same databases: `--config` with an absolute
 * path if the config was named by a flag or by ETL_CONFIG, each `--conn`, and ETL_ENV, which chooses the `.env` files.
 * A secret in a URL is replaced by `<secret>`, which no server accepts as a password.
 */
export function listGivenWords(program: Program, flags: LocatingFlags): Omit<GivenWords, 'runFlags'> {
  const named = flags.config ?? process.env['ETL_CONFIG'];
  const config = named === undefined || named === '' ? [] : ['--config', resolve(named)];
  const values = (flags.conn ?? []).map((value) => formatConnection(program, value));
  const connections = [...new Set(values)].flatMap((value) => ['--conn', value]);
  const environment = process.env['ETL_ENV'];
  return {
    variables: environment === undefined || environment === '' ? {} : { ETL_ENV: environment },
    flags: [...config, ...connections],
  };
}

/** Returns a value `id` or `id=url` of a flag, with the URL that counts and without secrets. */
export function formatConnection(program: Program, value: string): string {
  const equals = value.indexOf('=');
  const id = value.slice(0, Math.max(0, equals));
  return equals < 0 ? value : `${id}=${describeUrl(program, id)}`;
}

/** Returns the URL of a connection with `<secret>` for each secret, or `<url>` if its definition can't be read. */
function describeUrl(program: Program, id: string): string {
  try {
    return formatDsn(program.lookup.find(id)).replaceAll('***', '<secret>');
  } catch {
    // The command reports the malformed connection when it uses the connection.
    return '<url>';
  }
}
