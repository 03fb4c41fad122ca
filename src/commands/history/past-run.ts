import {
  assertKnownDag,
  listHomes,
  mapDagConnections,
  listRecordingConnections,
} from '../program/dag-connections.js';
import { didYouMean, EtlError } from '../../errors.js';
import { createPastRun, markCrashed, type PastRun } from './past-runs.js';
import type { InLedger, Ledgers } from '../program/ledgers.js';
import type { Program } from '../program/program.js';
import { readAttempts, type AttemptRow } from '../../runtime/ledger/attempt-row.js';
import { findRunIds, readDoneRows, type DoneRow } from '../../runtime/ledger/run-history.js';
import { findRun, listRuns, type RunRow } from '../../runtime/ledger/run-row.js';
import type { Ledger } from '../../runtime/ledger/ledger.js';

/** A task of a run. The config has the task, or the ledger, or both. */
export interface PastTask {
  readonly taskId: string;
  readonly isInConfig: boolean;
  /**
   * The ledger row of the successful attempt, and the connection whose ledger has the row. Undefined if no attempt
   * succeeded.
   */
  readonly done: InLedger<DoneRow> | undefined;
  /** The attempts that did not succeed, in the order of their ends. */
  readonly attempts: readonly AttemptRow[];
}

/** A run with its tasks. */
export interface RunHistory extends PastRun {
  readonly tasks: readonly PastTask[];
}

/** The words of the user that name a run. */
export interface RunName {
  /** The ID of the run, or at least four characters at the beginning or end of the ID. */
  readonly part: string;
  /**
   * The Dag of the run. Needed if runs of two Dags have the same ID, which is possible if the Dags have two home
   * connections.
   */
  readonly dagId: string | undefined;
}

/** The minimum number of characters of a part of a run ID. */
const SHORTEST_PART = 4;
/** The number of newest runs that are searched for an ID to suggest. */
const SUGGESTED_FROM = 100;

/**
 * Reads one run and its tasks. The row of the run and its failed attempts are in the home connection. The rows of its
 * done tasks can be in any connection of its Dag. Throws ETL-2012 if several runs match the name, ETL-2013 if no run
 * matches, and ETL-2002 if the config does not have the given Dag.
 */
export async function readRun(program: Program, ledgers: Ledgers, name: RunName): Promise<RunHistory> {
  const dagConnections = mapDagConnections(program);
  // A connection that --conn names can have runs of a Dag that the config does not have.
  if (program.named.length === 0) assertKnownDag(dagConnections, name.dagId);
  const homes = listHomes(program, dagConnections, name.dagId);
  const row = await findOneRun(ledgers, homes, name);
  const { dagId, runId, connectionId } = row;
  const checked = await ledgers.readEach([connectionId], (ledger) => markCrashed(ledger, [row]));
  const attempts = await ledgers.readEach([connectionId], (ledger) => readAttempts(ledger, runId));
  const done = await ledgers.readEach(
    listRecordingConnections(dagConnections, dagId, connectionId),
    (ledger) => readDoneRows(ledger, dagId, runId),
  );
  return {
    ...createPastRun(checked[0] ?? row, dagConnections),
    tasks: listTasks(dagConnections.get(dagId)?.taskIds ?? [], done, attempts),
  };
}

/**
 * Finds the only run that a name stands for: the run with this ID or, if there is none, the run whose ID begins or ends
 * with the name. A name shorter than `SHORTEST_PART` matches only a whole ID. Throws ETL-2012 if several runs match,
 * and ETL-2013 with the nearest known ID if no run matches.
 */
async function findOneRun(
  ledgers: Ledgers,
  homes: readonly string[],
  name: RunName,
): Promise<InLedger<RunRow>> {
  const { part, dagId } = name;
  let found = await findRunsById(ledgers, homes, name, async () => [part]);
  if (found.length === 0 && part.length >= SHORTEST_PART)
    found = await findRunsById(ledgers, homes, name, (ledger) => findRunIds(ledger, part));
  const [first, ...others] = found;
  if (first !== undefined && others.length === 0) return first;
  if (first !== undefined) throw createAmbiguousRunError(part, found);
  const known = await ledgers.readEach(homes, (ledger) => listRuns(ledger, { dagId, limit: SUGGESTED_FROM }));
  throw createUnknownRunError(name, known);
}

/**
 * Finds runs in each home connection: the runs whose IDs `readIds` returns for this connection. If a Dag is given,
 * finds only runs of this Dag.
 */
async function findRunsById(
  ledgers: Ledgers,
  homes: readonly string[],
  { dagId }: RunName,
  readIds: (ledger: Ledger) => Promise<readonly string[]>,
): Promise<readonly InLedger<RunRow>[]> {
  return ledgers.readEach(homes, async (ledger) => {
    const rows: RunRow[] = [];
    for (const id of await readIds(ledger)) {
      const row = await findRun(ledger, id);
      if (row !== undefined && (dagId === undefined || row.dagId === dagId)) rows.push(row);
    }
    return rows;
  });
}

/**
 * Lists the tasks of a run, each once, in this order: the tasks of the config in the order of the config; then tasks
 * that only the ledger has and that succeeded; then tasks that only the ledger has and that did not succeed.
 * `configured` has the IDs of the config's tasks.
 */
function listTasks(
  configured: readonly string[],
  doneRows: readonly InLedger<DoneRow>[],
  attempts: readonly AttemptRow[],
): readonly PastTask[] {
  const done = new Map(doneRows.map((row) => [row.taskId, row]));
  const inConfig = new Set(configured);
  const ids = new Set([...configured, ...done.keys(), ...attempts.map(({ taskId }) => taskId)]);
  return [...ids].map((taskId) => ({
    taskId,
    isInConfig: inConfig.has(taskId),
    done: done.get(taskId),
    attempts: attempts.filter((attempt) => attempt.taskId === taskId),
  }));
}

/**
 * Creates the error ETL-2012 of a name that several runs match: either they all have this ID, each in another home
 * connection, or their IDs begin or end with the same part.
 */
function createAmbiguousRunError(part: string, rows: readonly RunRow[]): EtlError {
  const isSameId = rows.every(({ runId }) => runId === rows[0]?.runId);
  return new EtlError('ETL-2012', {
    what: isSameId
      ? `there are ${rows.length} runs "${part}"`
      : `more than one run ID begins or ends with "${part}"`,
    why: rows.map(({ runId, dagId }) => `${runId} of ${dagId}`).join('\n'),
    fix: isSameId ? 'name the Dag of the run with --dag' : 'give more characters of the run ID',
  });
}

/** Creates the error ETL-2013 of a name that no run matches. Suggests the nearest ID of the runs in `known`. */
function createUnknownRunError({ part, dagId }: RunName, known: readonly RunRow[]): EtlError {
  const ids = known.map(({ runId }) => runId);
  const of = dagId === undefined ? '' : ` of "${dagId}"`;
  return new EtlError('ETL-2013', {
    what: `there is no run "${part}"${of}${didYouMean(part, ids)}`,
    why:
      part.length < SHORTEST_PART
        ? `a part of a run ID needs at least ${SHORTEST_PART} characters`
        : undefined,
    fix: ids.length === 0 ? 'run a Dag first: no run is recorded' : '`etl runs` lists the runs',
  });
}
