import {
  listHomes,
  listDagConnections,
  listRecordingConnections,
  type DagConnectionMap,
} from '../program/dag-connections.js';
import { didYouMean, EtlError } from '../../errors.js';
import { createPastRun, withCrashed, type PastRun } from './past-runs.js';
import type { LedgerAnswer, Ledgers } from '../program/ledgers.js';
import type { Program } from '../program/program.js';
import { createUnknownDagError } from '../../runtime/dag/dag-errors.js';
import { readAttempts, type AttemptRow } from '../../runtime/ledger/attempt-row.js';
import { findRunIds, readDoneRows, type DoneRow } from '../../runtime/ledger/run-history.js';
import { findRun, listRuns, type RunRow } from '../../runtime/ledger/run-row.js';
import type { ProtocolClient } from '../../runtime/postgres/protocol.js';

/** A task of a run: of the config, of the ledger, or of both. */
export interface PastTask {
  readonly taskId: string;
  readonly isInConfig: boolean;
  /** The connection that it is recorded in, and the attempt that did it. */
  readonly done: (DoneRow & { readonly connectionId: string }) | undefined;
  /** Attempts that did not succeed, in the order in which they ended. */
  readonly attempts: readonly AttemptRow[];
}

/** Everything that is known of one run. */
export interface RunHistory extends PastRun {
  readonly tasks: readonly PastTask[];
}

/** What names a run. */
export interface RunName {
  /** Its ID, or at least four characters that it begins or ends with. */
  readonly part: string;
  /** Runs of two Dags with homes of their own may have the same ID. */
  readonly dagId: string | undefined;
}

const SHORTEST_PART = 4;
/** So many runs are looked through for an ID that is nearly the one given. */
const NEAREST_OF = 100;

/** One run and its tasks. Throws `EtlError` with exit code 2 when nothing has the name, or more than one run. */
export async function readRun(program: Program, ledgers: Ledgers, name: RunName): Promise<RunHistory> {
  const places = listDagConnections(program);
  const { connectionId, value: row } = await findOne(ledgers, places, name);
  const { dagId, runId } = row;
  const judged = await ledgers.readEach([connectionId], (client) => withCrashed(client, [row]));
  const attempts = await ledgers.readEach([connectionId], (client) => readAttempts(client, runId));
  const done = await ledgers.readEach(listRecordingConnections(places, dagId, connectionId), (client) =>
    readDoneRows(client, dagId, runId),
  );
  const [run = row] = judged.flatMap(({ value }) => value);
  return {
    ...createPastRun(run, connectionId, places),
    tasks: listTasks(
      places.get(dagId)?.taskIds ?? [],
      done,
      attempts.flatMap(({ value }) => value),
    ),
  };
}

async function findOne(
  ledgers: Ledgers,
  places: DagConnectionMap,
  name: RunName,
): Promise<LedgerAnswer<RunRow>> {
  const { part, dagId } = name;
  if (dagId !== undefined && !places.has(dagId)) throw createUnknownDagError(dagId, [...places.keys()]);
  const homes = listHomes(places, dagId);
  const exact = await findAll(ledgers, homes, name, async () => [part]);
  const found =
    exact.length > 0 || part.length < SHORTEST_PART
      ? exact
      : await findAll(ledgers, homes, name, (client) => findRunIds(client, part));
  const [first, ...others] = found;
  if (first !== undefined && others.length === 0) return first;
  if (first !== undefined)
    throw createAmbiguousRunError(
      part,
      found.map(({ value }) => value),
    );
  const known = await ledgers.readEach(homes, (client) => listRuns(client, { dagId, limit: NEAREST_OF }));
  throw createUnknownRunError(
    name,
    known.flatMap(({ value }) => value),
  );
}

/** The runs with these IDs, of the Dag where one is given. */
async function findAll(
  ledgers: Ledgers,
  homes: readonly string[],
  { dagId }: RunName,
  idsOf: (client: ProtocolClient) => Promise<readonly string[]>,
): Promise<readonly LedgerAnswer<RunRow>[]> {
  const answers = await ledgers.readEach(homes, async (client) => {
    const rows: RunRow[] = [];
    for (const id of await idsOf(client)) {
      const row = await findRun(client, id);
      if (row !== undefined && (dagId === undefined || row.dagId === dagId)) rows.push(row);
    }
    return rows;
  });
  return answers.flatMap(({ connectionId, value }) => value.map((row) => ({ connectionId, value: row })));
}

/** The tasks of the config in its order, then those that only the ledger knows, the done ones first. */
function listTasks(
  configured: readonly string[],
  answers: readonly LedgerAnswer<readonly DoneRow[]>[],
  attempts: readonly AttemptRow[],
): readonly PastTask[] {
  const done = new Map(
    answers.flatMap(({ connectionId, value }) =>
      value.map((row) => [row.taskId, { ...row, connectionId }] as const),
    ),
  );
  const failed = new Map<string, AttemptRow[]>();
  for (const attempt of attempts) {
    const earlier = failed.get(attempt.taskId);
    if (earlier === undefined) failed.set(attempt.taskId, [attempt]);
    else earlier.push(attempt);
  }
  const inConfig = new Set(configured);
  const ids = new Set([...configured, ...done.keys(), ...failed.keys()]);
  return [...ids].map((taskId) => ({
    taskId,
    isInConfig: inConfig.has(taskId),
    done: done.get(taskId),
    attempts: failed.get(taskId) ?? [],
  }));
}

function createAmbiguousRunError(part: string, rows: readonly RunRow[]): EtlError {
  const isSameId = rows.every(({ runId }) => runId === rows[0]?.runId);
  return new EtlError('ETL-2012', {
    what: isSameId
      ? `there are ${rows.length} runs "${part}"`
      : `more than one run ID begins or ends with "${part}"`,
    why: rows.map(({ runId, dagId }) => `${runId} of ${dagId}`).join('\n'),
    fix: isSameId ? 'name its Dag with --dag' : 'write more of the ID',
  });
}

function createUnknownRunError({ part, dagId }: RunName, known: readonly RunRow[]): EtlError {
  const ids = known.map(({ runId }) => runId);
  const of = dagId === undefined ? '' : ` of "${dagId}"`;
  return new EtlError('ETL-2013', {
    what: `there is no run "${part}"${of}${didYouMean(part, ids)}`,
    why: part.length < SHORTEST_PART ? `a part of an ID has at least ${SHORTEST_PART} characters` : undefined,
    fix: ids.length === 0 ? 'nothing was run yet' : 'etl runs lists the runs',
  });
}
