import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import {
  listLedgerConnections,
  listDagConnections,
  type DagConnections,
} from '../program/dag-connections.js';
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

/** Something of the state of tasks, and the connection whose ledger has it. */
export type InLedger<T> = T & { readonly connectionId: string };

/** The watermarks of one Dag, or of all; those of one task only. Throws `EtlError` for a Dag that nobody knows. */
export async function readState(
  program: Program,
  ledgers: Ledgers,
  { dagId, taskId }: WatermarkFilter,
): Promise<readonly InLedger<WatermarkRow>[]> {
  const rows = await readEach(program, ledgers, dagId, (client) => readWatermarks(client, { dagId, taskId }));
  const places = listDagConnections(program);
  if (dagId !== undefined && rows.length === 0 && !places.has(dagId))
    throw createUnknownDagError(dagId, [...places.keys()]);
  return rows;
}

/** What became of the watermarks of a task, the newest change of each database first. */
export function readStateHistory(
  program: Program,
  ledgers: Ledgers,
  owner: WatermarkOwner,
): Promise<readonly InLedger<WatermarkChange>[]> {
  return readEach(program, ledgers, owner.dagId, (client) => readWatermarkHistory(client, owner));
}

async function readEach<T extends object>(
  program: Program,
  ledgers: Ledgers,
  dagId: string | undefined,
  read: (client: ProtocolClient) => Promise<readonly T[]>,
): Promise<readonly InLedger<T>[]> {
  const places = listDagConnections(program);
  const known = dagId === undefined ? undefined : places.get(dagId)?.connectionIds;
  const answers = await ledgers.readEach(known ?? listLedgerConnections(places), read);
  return answers.flatMap(({ connectionId, value }) => value.map((row) => ({ ...row, connectionId })));
}

const UNCHANGED = 'nothing was changed';

/** The task whose state is to be changed. */
export interface StateChange extends WatermarkOwner {
  readonly program: Program;
  /** Of this process: it holds the lock. */
  readonly pid: number;
}

/**
 * Sets a watermark, as the last committed attempt would have. Holds the lock of the Dag meanwhile: throws `EtlError` with
 * exit code 75 while a run has it. The value is kept as the cursor's type writes it, where that is known.
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

/** Removes a watermark of a task, or all; their names. Holds the lock as `setState` does. */
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

/** No task of the Dag can commit meanwhile, nor afterwards when it had begun before. */
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
  const places = listDagConnections(program);
  const place = places.get(dagId);
  if (place === undefined) throw createUnknownDagError(dagId, [...places.keys()], UNCHANGED);
  const { home } = place;
  if (home !== undefined) return { ...place, home };
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
      what: `the watermark is of type ${cursor.name}, and the value is not: ${cause.message}`,
      data: UNCHANGED,
      cause: error,
    });
  }
}

/** The error for a watermark that is not there. */
export function createNoWatermarkError(
  { dagId, taskId }: WatermarkOwner,
  name: string | undefined,
  known: readonly string[],
): EtlError {
  const which = name === undefined ? 'no watermark' : `no watermark "${name}"`;
  return new EtlError('ETL-2014', {
    what: `task "${taskId}" of "${dagId}" has ${which}${name === undefined ? '' : didYouMean(name, known)}`,
    fix: `${formatCommand('state', 'list', dagId)} lists those of its tasks`,
  });
}
