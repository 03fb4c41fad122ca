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
  const ids = (flags.conn ?? []).map((value) => value.slice(0, value.indexOf('=')));
  const connections = [...new Set(ids)].flatMap((id) => ['--conn', `${id}=${describeUrl(program, id)}`]);
  const environment = process.env['ETL_ENV'];
  return {
    variables: environment === undefined || environment === '' ? {} : { ETL_ENV: environment },
    flags: [...config, ...connections],
  };
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
