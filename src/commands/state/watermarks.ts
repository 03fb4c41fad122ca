import { randomUUID } from 'node:crypto';
import {
  assertKnownDag,
  listLedgerConnections,
  mapDagConnections,
  type DagConnections,
} from '../program/dag-connections.js';
import { didYouMean, EtlError } from '../../errors.js';
import type { InLedger, Ledgers } from '../program/ledgers.js';
import { readHostName } from '../../runtime/run/host-name.js';
import type { Program } from '../program/program.js';
import { RunDatabases } from '../../runtime/database/run-databases.js';
import {
  clearWatermarks,
  readWatermarkHistory,
  readWatermarks,
  writeWatermarks,
  type WatermarkChange,
  type WatermarkFilter,
  type WatermarkOwner,
  type WatermarkRow,
} from '../../runtime/ledger/watermark-row.js';
import { createUnknownDagError, createUnknownTaskError } from '../../runtime/dag/dag-errors.js';
import { planTasks } from '../../runtime/dag/plan.js';
import { formatCommand } from '../../runtime/report/command-line.js';
import type { Ledger } from '../../runtime/ledger/ledger.js';
import type { ProtocolClient } from '../../runtime/postgres/protocol.js';
import { findDatabaseError } from '../../runtime/postgres/sqlstate.js';
import { assertWatermarkName } from '../../runtime/watermark/watermark.js';
import { readCanonicalText, findCursorTypeByName } from '../../runtime/watermark/cursor.js';

/**
 * Reads the watermarks of one task, of one Dag or of all Dags, ledger by ledger. A Dag that was removed from the
 * config is found by the watermarks that the ledgers still have. Throws ETL-2002 if the config does not have the Dag
 * and no watermark was found.
 */
export async function collectWatermarks(
  program: Program,
  ledgers: Ledgers,
  { dagId, taskId }: WatermarkFilter,
): Promise<readonly InLedger<WatermarkRow>[]> {
  const rows = await readFromLedgers(program, ledgers, dagId, (ledger) =>
    readWatermarks(ledger, { dagId, taskId }),
  );
  const dagConnections = mapDagConnections(program);
  if (rows.length === 0) assertKnownDag(dagConnections, dagId);
  return rows;
}

/** Reads the changes of a task's watermarks, database by database. In each database the newest change comes first. */
export function collectWatermarkHistory(
  program: Program,
  ledgers: Ledgers,
  owner: WatermarkOwner,
): Promise<readonly InLedger<WatermarkChange>[]> {
  return readFromLedgers(program, ledgers, owner.dagId, (ledger) => readWatermarkHistory(ledger, owner));
}

/**
 * Calls `read` for ledgers, one after the other, and returns the rows of all ledgers, each with the connection of its
 * ledger. If the config has the Dag `dagId`, the ledgers are those of this Dag. In any other case (no Dag is given, or
 * the config does not have the Dag) they are the ledgers of all Dags.
 */
async function readFromLedgers<T extends object>(
  program: Program,
  ledgers: Ledgers,
  dagId: string | undefined,
  read: (ledger: Ledger) => Promise<readonly T[]>,
): Promise<readonly InLedger<T>[]> {
  const dagConnections = mapDagConnections(program);
  const known = dagId === undefined ? undefined : dagConnections.get(dagId)?.connectionIds;
  return ledgers.readEach(known ?? listLedgerConnections(dagConnections), read);
}

const UNCHANGED = 'nothing was changed';

/** The task whose watermarks are changed. */
export interface ChangedTask extends WatermarkOwner {
  readonly program: Program;
  /** The ID of this process, which holds the lock. */
  readonly pid: number;
}

/**
 * Sets a watermark, as a committed attempt of the task does, and returns the stored value. Holds the lock of the Dag
 * while it works.
 *
 * - If the ledger knows the type of the watermark, the stored value is the canonical text of the given value. Example
 *   for a time with a time zone: `2026-01-01` -> `2026-01-01 00:00:00.000000+00`. Throws ETL-2015 if the value is not
 *   of this type.
 * - If the ledger does not know the type, as for a new watermark, the stored value is the given value.
 *
 * Throws an `EtlError` with exit code 75 if a run has the lock.
 */
export async function setWatermark(
  change: ChangedTask,
  { name, value }: { readonly name: string; readonly value: string },
): Promise<string> {
  const { program, dagId, taskId } = change;
  assertWatermarkName(name);
  const connectionId = getConnectionId(program, change);
  return runLocked(change, async (databases) => {
    const database = await databases.get(connectionId);
    return database.with(async (ledger) => {
      const rows = await readWatermarks(ledger, { dagId, taskId });
      const type = rows.find((row) => row.name === name)?.type;
      const text = await castToType(ledger.client, type, value);
      const { holder } = databases;
      await writeWatermarks(ledger, change, [{ name, value: text, type }], { by: 'cli', holder });
      return text;
    });
  });
}

/**
 * Removes one watermark of a task, or all its watermarks if `name` is undefined. Returns the removed names. Searches
 * all databases that the Dag writes to, because the connection of the task can have been changed. Holds the lock of
 * the Dag while it works, and throws an `EtlError` with exit code 75 if a run has the lock.
 */
export async function clearTaskWatermarks(
  change: ChangedTask,
  name: string | undefined,
): Promise<readonly string[]> {
  const { program, dagId, taskId } = change;
  const { connectionIds } = getDagConnections(program, dagId);
  return runLocked(change, async (databases) => {
    const cleared: string[] = [];
    for (const id of connectionIds) {
      const database = await databases.get(id);
      const { holder } = databases;
      cleared.push(
        ...(await database.with((ledger) => clearWatermarks(ledger, { dagId, taskId, holder }, name))),
      );
    }
    return cleared;
  });
}

/**
 * Calls `work` while this process holds the lock of the Dag, and returns the result of `work`. During that time no run
 * of the Dag can start, and no task of the Dag can commit. A task that began before can't commit afterwards either,
 * because its epoch is old. Closes all databases at the end.
 *
 * Throws an `EtlError` with exit code 75 if a run has the lock, and ETL-1003 if the connection with the lock was lost
 * before `work` began.
 */
async function runLocked<T>(
  { program, dagId, pid }: ChangedTask,
  work: (databases: RunDatabases) => Promise<T>,
): Promise<T> {
  const { home, connectionIds } = getDagConnections(program, dagId);
  const holder = { dagId, holder: randomUUID(), pid, host: readHostName() };
  const lost: EtlError[] = [];
  const databases = new RunDatabases(
    {
      open: async (id) => program.open(await program.lookup.load(id), { concurrency: 1 }),
      schema: program.ledgerSchema,
    },
    holder,
    (error) => lost.push(error),
  );
  try {
    await databases.openHome(home, { mode: 'fail' });
    // The first argument is a run ID, which messages show. No run has this ID.
    await databases.takeEpochs('etl state', connectionIds);
    if (lost[0] !== undefined) throw lost[0];
    return await work(databases);
  } finally {
    await databases.close();
  }
}

/**
 * Returns the connections of a Dag that has a home connection. Throws ETL-2002 if the config does not have the Dag, and
 * ETL-2014 if the Dag has no connection.
 */
function getDagConnections(program: Program, dagId: string): DagConnections & { readonly home: string } {
  const dagConnections = mapDagConnections(program);
  const found = dagConnections.get(dagId);
  if (found === undefined) throw createUnknownDagError(dagId, [...dagConnections.keys()], UNCHANGED);
  const { home } = found;
  if (home !== undefined) return { ...found, home };
  throw new EtlError('ETL-2014', {
    what: `"${dagId}" has no connection, so its tasks have no watermarks`,
    data: UNCHANGED,
  });
}

/**
 * Returns the ID of the connection that a task writes to; the watermarks of the task are in its ledger. Throws ETL-2004
 * if the Dag does not have the task, or if the task works without a connection.
 */
function getConnectionId(program: Program, owner: WatermarkOwner): string {
  const { dagId, taskId } = owner;
  const { taskIds } = getDagConnections(program, dagId);
  const { config } = program.loaded;
  const dag = config.dags.find(({ id }) => id === dagId);
  const task = dag && planTasks(dag, config.defaults).find(({ id }) => id === taskId);
  if (task === undefined) throw createUnknownTaskError(owner, taskIds, UNCHANGED);
  if (task.conn !== undefined) return task.conn;
  throw new EtlError('ETL-2004', {
    what: `task "${taskId}" works without a connection, so it has no watermarks`,
    data: UNCHANGED,
  });
}

/**
 * Converts a value to the canonical text of a cursor type. Returns the value unchanged if the type is unknown. Throws
 * ETL-2015 if the database can't read the value as this type.
 */
async function castToType(client: ProtocolClient, type: string | undefined, value: string): Promise<string> {
  const cursor = type === undefined ? undefined : findCursorTypeByName(type);
  if (cursor === undefined) return value;
  try {
    return await readCanonicalText(client, cursor, value);
  } catch (error) {
    const cause = findDatabaseError(error);
    if (cause === undefined) throw error;
    throw new EtlError('ETL-2015', {
      what: `the watermark is of type ${cursor.name}, but the value is not: ${cause.message}`,
      data: UNCHANGED,
      cause: error,
    });
  }
}

/** Returns the error ETL-2014 for a task that has no watermark, or no watermark with this name. */
export function createNoWatermarkError(
  { dagId, taskId }: WatermarkOwner,
  name: string | undefined,
  known: readonly string[],
): EtlError {
  const which = name === undefined ? 'no watermark' : `no watermark "${name}"`;
  return new EtlError('ETL-2014', {
    what: `task "${taskId}" of "${dagId}" has ${which}${name === undefined ? '' : didYouMean(name, known)}`,
    fix: `${formatCommand('state', 'list', dagId)} lists the watermarks of the Dag`,
  });
}
