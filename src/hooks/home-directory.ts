import { userInfo } from 'node:os';
import type { Variables } from './hook.js';

/**
 * Finds the home directory of the user as libpq does: `HOME`, else the entry of the system for the user. Returns
 * undefined if the system does not know the user, as in a container that runs under a number without a name: then the
 * user has no `~/.pgpass` and no `~/.postgresql`.
 */
export function findHomeDirectory(variables: Variables): string | undefined {
  try {
    return variables['HOME'] || userInfo().homedir;
  } catch {
    return undefined;
  }
}
