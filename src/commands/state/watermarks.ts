import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { listLedgerConnections, mapDagConnections, type DagConnections } from '../program/dag-connections.js';
import { didYouMean, EtlError } from '../../errors.js';
import type { Ledgers } from '../program/ledgers.js';
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
import type { ProtocolClient } from '../../runtime/postgres/protocol.js';
import { findDatabaseError } from '../../runtime/postgres/sqlstate.js';
import { readCanonicalText, findCursorTypeByName } from '../../runtime/watermark/cursor.js';

/** A row of a ledger, with the connection of the ledger. */
export type InLedger<T> = T & { readonly connectionId: string };

/**
 * Reads the watermarks of one task, of one Dag or of all Dags. Throws ETL-2002 if neither the config nor a ledger has
 * the Dag.
 */
export async function readState(
  program: Program,
  ledgers: Ledgers,
  { dagId, taskId }: WatermarkFilter,
): Promise<readonly InLedger<WatermarkRow>[]> {
  const rows = await readEach(program, ledgers, dagId, (client) => readWatermarks(client, { dagId, taskId }));
  const dagConnections = mapDagConnections(program);
  if (dagId !== undefined && rows.length === 0 && !dagConnections.has(dagId))
    throw createUnknownDagError(dagId, [...dagConnections.keys()]);
  return rows;
}

/** Reads the changes of a task's watermarks, database by database. In each database the newest change comes first. */
export function readStateHistory(
  program: Program,
  ledgers: Ledgers,
  owner: WatermarkOwner,
): Promise<readonly InLedger<WatermarkChange>[]> {
  return readEach(program, ledgers, owner.dagId, (client) => readWatermarkHistory(client, owner));
}

/** Reads rows from the ledgers of one Dag or, if the config does not have the Dag, from the ledgers of all Dags. */
async function readEach<T extends object>(
  program: Program,
  ledgers: Ledgers,
  dagId: string | undefined,
  read: (client: ProtocolClient) => Promise<readonly T[]>,
): Promise<readonly InLedger<T>[]> {
  const dagConnections = mapDagConnections(program);
  const known = dagId === undefined ? undefined : dagConnections.get(dagId)?.connectionIds;
  const answers = await ledgers.readEach(known ?? listLedgerConnections(dagConnections), read);
  return answers.flatMap(({ connectionId, value }) => value.map((row) => ({ ...row, connectionId })));
}

const UNCHANGED = 'nothing was changed';

/** The task whose watermarks are changed. */
export interface StateChange extends WatermarkOwner {
  readonly program: Program;
  /** The ID of this process, which holds the lock. */
  readonly pid: number;
}

/**
 * Sets a watermark, as a committed attempt of the task does. Holds the lock of the Dag for this time. Throws an
 * `EtlError` with exit code 75 if a run has the lock. Throws ETL-2015 if the value is not of the watermark's type.
 * Returns the stored value: the text that PostgreSQL writes for the value if the type of the watermark is known, else
 * the given value.
 */
export async function setState(
  change: StateChange,
  { name, value }: { readonly name: string; readonly value: string },
): Promise<string> {
  const { program, dagId, taskId } = change;
  const connectionId = getConnection(program, change);
  return runLocked(change, async (databases) => {
    const database = await databases.get(connectionId);
    return database.with(async (client) => {
      const rows = await readWatermarks(client, { dagId, taskId });
      const type = rows.find((row) => row.name === name)?.type;
      const text = await castToType(client, type, value);
      await writeWatermarks(client, change, [{ name, value: text, type }], { by: 'cli' });
      return text;
    });
  });
}

/**
 * Removes one watermark or all watermarks of a task, and returns their names. Holds the lock of the Dag as `setState`
 * does.
 */
export async function clearState(change: StateChange, name: string | undefined): Promise<readonly string[]> {
  const { connectionIds } = getDag(change.program, change.dagId);
  return runLocked(change, async (databases) => {
    const cleared: string[] = [];
    for (const id of connectionIds) {
      const database = await databases.get(id);
      cleared.push(...(await database.with((client) => clearWatermarks(client, change, name))));
    }
    return cleared;
  });
}

/**
 * Calls `work` while this process holds the lock of the Dag. No task of the Dag can commit during that time. A task
 * that began before can't commit afterwards either, because its epoch is old.
 */
async function runLocked<T>(
  { program, dagId, pid }: StateChange,
  work: (databases: RunDatabases) => Promise<T>,
): Promise<T> {
  const { home, connectionIds } = getDag(program, dagId);
  const holder = { dagId, holder: randomUUID(), pid, host: hostname() };
  const lost: EtlError[] = [];
  const databases = new RunDatabases(
    (id) => program.open(program.lookup.find(id), { concurrency: 1 }),
    holder,
    (error) => lost.push(error),
  );
  try {
    await databases.openHome(home, { mode: 'fail' });
    await databases.takeEpochs('etl state', connectionIds);
    if (lost[0] !== undefined) throw lost[0];
    return await work(databases);
  } finally {
    await databases.close();
  }
}

function getDag(program: Program, dagId: string): DagConnections & { readonly home: string } {
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

function getConnection(program: Program, owner: WatermarkOwner): string {
  const { dagId, taskId } = owner;
  const { taskIds } = getDag(program, dagId);
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
