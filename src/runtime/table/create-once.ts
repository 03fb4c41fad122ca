import { EtlError } from '../../errors.js';
import { TABLE_LOCK } from '../postgres/advisory-lock.js';
import { send } from '../postgres/protocol.js';
import { findDatabaseError, type DatabaseError } from '../postgres/sqlstate.js';
import type { TaskConnection } from '../postgres/task-connection.js';
import { quoteTable } from '../sql/quote.js';
import type { Table } from './describe.js';
import { lockExclusively } from './exclusive-lock.js';

/**
 * Waits until no other task creates a table of this name, and reserves the name for this transaction. `create table if not
 * exists` alone is not enough: two of them at the same time fail with 23505.
 */
export async function reserveTableName(taskConnection: TaskConnection, name: string): Promise<void> {
  await send(
    taskConnection,
    // The name without its schema: an unqualified name and a qualified one can mean the same table.
    `select pg_catalog.pg_advisory_xact_lock(${TABLE_LOCK}, pg_catalog.hashtext(
       (select part from pg_catalog.unnest(pg_catalog.parse_ident($1)) with ordinality as p (part, n)
        order by n desc limit 1)))`,
    [quoteTable(name)],
  );
}

/**
 * Locks a table that a statement is about to change. Throws `EtlError` ETL-3573 if another transaction has changed its
 * columns since this transaction began: a change that is decided by the old columns could make a column narrower.
 */
export async function lockForChange(taskConnection: TaskConnection, table: Table): Promise<void> {
  // Column changes apply to the tables that inherit, too.
  await lockExclusively(taskConnection, { target: table.sql, sql: 'select' });
  // The catalog that queries see is as old as the transaction. The columns of a result are the present ones.
  const { fields } = await send(taskConnection, `select * from ${table.sql} limit 0`);
  const isSame =
    fields.length === table.columns.length &&
    table.columns.every(({ name, oid }, i) => fields[i]?.name === name && fields[i]?.dataTypeID === oid);
  if (!isSame) throw createConflictError(table.sql);
}

/** The SQLSTATEs of a CREATE or ALTER TABLE that another transaction was faster with. */
const EXISTS: ReadonlySet<string> = new Set(['42P07', '42701', '42710']);

/**
 * Sends a statement that creates or changes a table. Throws `EtlError` ETL-3573 if another transaction has created the same
 * table or column meanwhile.
 */
export async function sendDefinition(
  taskConnection: TaskConnection,
  sql: string,
  name: string,
): Promise<void> {
  try {
    await send(taskConnection, sql);
  } catch (error) {
    const refused = findDatabaseError(error);
    if (refused !== undefined && isConflict(refused)) throw createConflictError(name, error);
    throw error;
  }
}

/** Says whether the object exists already. PostgreSQL reports some conflicts as 23505 in a table of its catalog. */
function isConflict({ code, constraint }: DatabaseError): boolean {
  return EXISTS.has(code) || (code === '23505' && constraint?.startsWith('pg_') === true);
}

/** Creates the error ETL-3573. The runner repeats the attempt, whose transaction then sees the table as it is. */
function createConflictError(name: string, cause?: unknown): EtlError {
  return new EtlError('ETL-3573', {
    what: `another transaction has created or changed table ${name} meanwhile`,
    why: 'the transaction of this attempt began before, and sees the table as it was',
    fix: 'run the task again; if several loads need the table, create it before',
    cause,
  });
}
