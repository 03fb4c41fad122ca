import type { Connection } from '../connection.js';
import { createWrongServerError } from '../connect-error.js';
import type { SessionAttributes } from './libpq.js';

/** The settings that a server reports when it accepts a session: `on`, `off`, or nothing behind some poolers. */
export interface ReportedState {
  readonly isStandby: string | undefined;
  /** The session's `default_transaction_read_only`. */
  readonly isReadOnly: string | undefined;
  /** Returns the column `value` of the only row of a query. */
  readonly query: (sql: string) => Promise<string | undefined>;
}

/**
 * Rejects with an ETL-1001 if a session does not have the attributes that the connection asks for. Asks the server only
 * if the server has reported nothing.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS
 */
export async function assertAttributes(
  connection: Connection,
  attributes: Exclude<SessionAttributes, 'any'>,
  state: ReportedState,
): Promise<void> {
  const refuse = (why: string): Error => createWrongServerError(connection, attributes, why);
  if (attributes === 'read-write' || attributes === 'read-only') {
    const isReadOnly = await isSessionReadOnly(state);
    if (isReadOnly && attributes === 'read-write') throw refuse('its sessions are read-only');
    if (!isReadOnly && attributes === 'read-only') throw refuse('its sessions are not read-only');
    return;
  }
  const isStandby = (state.isStandby ?? (await state.query(STANDBY))) === 'on';
  if (isStandby && attributes === 'primary') throw refuse('it is a standby');
  if (!isStandby && attributes !== 'primary') throw refuse('it is not a standby');
}

const STANDBY = `select case when pg_catalog.pg_is_in_recovery() then 'on' else 'off' end as value`;
const READ_ONLY = `select pg_catalog.current_setting('transaction_read_only') as value`;

/** Says whether the session is read-only: on a standby, or by `default_transaction_read_only`. */
async function isSessionReadOnly({ isStandby, isReadOnly, query }: ReportedState): Promise<boolean> {
  if (isStandby === undefined || isReadOnly === undefined) return (await query(READ_ONLY)) === 'on';
  return isStandby === 'on' || isReadOnly === 'on';
}
