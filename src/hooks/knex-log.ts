import type { Knex } from 'knex';
import type { OpenSettings } from './hook.js';

/** knex prints to stdout, which belongs to data, unless told otherwise. */
export function knexLog(notice: OpenSettings['notice']): Knex.Logger {
  const say = (message: unknown): void => {
    const line = String(message).split('\n')[0] ?? '';
    // Errors of connecting are thrown as well.
    if (!/^(Acquire connection|Connection) error:/i.test(line)) notice(`knex: ${line}`);
  };
  return { debug: say, deprecate: say, error: say, warn: say };
}
