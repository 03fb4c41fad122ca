import { hostname } from 'node:os';

/**
 * Reads the name of this machine for the ledger. A character that is not printable ASCII becomes `?`, because the ledger
 * may be in a database that can't store it.
 */
export function readHostName(): string {
  return hostname().replaceAll(/[^ -~]/gu, '?');
}
