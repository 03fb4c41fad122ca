import {
  listHomes,
  mapDagConnections,
  listRecordingConnections,
  type DagConnectionMap,
} from '../program/dag-connections.js';
import type { LedgerAnswer, Ledgers } from '../program/ledgers.js';
import type { Program } from '../program/program.js';
import { createUnknownDagError } from '../../runtime/dag/dag-errors.js';
import { countDone, readCrashed, type DoneCount } from '../../runtime/ledger/run-history.js';
import { listRuns, type RunRow } from '../../runtime/ledger/run-row.js';
import { formatResumeCommand } from '../../runtime/report/command-line.js';
import type { ProtocolClient } from '../../runtime/postgres/protocol.js';

/** A run of the ledger. Its state is `crashed` if the ledger says `running` but no process works on the run. */
export interface PastRun extends Omit<RunRow, 'state'> {
  readonly state: RunRow['state'] | 'crashed';
  /** The connection whose ledger has the run. */
  readonly connectionId: string;
  /** The command that resumes the run. Undefined if the run did not fail or if the config does not have the Dag. */
  readonly resume: string | undefined;
}

/** A run in a list, with the number of its finished tasks and their rows. */
export interface CountedRun extends PastRun {
  readonly tasksDone: number;
  readonly rows: number;
}

/**
 * Reads at most `limit` runs, the newest first. With `dagId`, reads the runs of this Dag. Without `dagId`, reads all
 * runs in the home connections of the config's Dags. Throws ETL-2002 if the config does not have the Dag `dagId` and no
 * ledger has a run of it.
 */
export async function readRuns(
  program: Program,
  ledgers: Ledgers,
  { dagId, limit }: { readonly dagId: string | undefined; readonly limit: number },
): Promise<readonly CountedRun[]> {
  const dagConnections = mapDagConnections(program);
  const answers = await ledgers.readEach(listHomes(dagConnections, dagId), async (client) =>
    markCrashed(client, await listRuns(client, { dagId, limit })),
  );
  const runs = answers
    .flatMap(({ connectionId, value }) =>
      value.map((run) => createPastRun(run, connectionId, dagConnections)),
    )
    .toSorted((a, b) => b.startedAt.getTime() - a.startedAt.getTime());
  if (dagId !== undefined && !dagConnections.has(dagId) && runs.length === 0)
    throw createUnknownDagError(dagId, [...dagConnections.keys()]);
  return countTasks(runs.slice(0, limit), ledgers, dagConnections);
}

/** A run row whose state is `crashed` if the ledger says `running` but nobody holds the run's lock. */
type CheckedRow = Omit<RunRow, 'state'> & Pick<PastRun, 'state'>;

/**
 * Returns the rows with the state `crashed` for runs whose process died: the ledger calls the run `running`, but nobody
 * holds its lock. All other rows are returned unchanged. Changes nothing in the ledger.
 */
export async function markCrashed(
  client: ProtocolClient,
  rows: readonly RunRow[],
): Promise<readonly CheckedRow[]> {
  const running = rows.filter(({ state }) => state === 'running').map(({ runId }) => runId);
  const crashed = running.length === 0 ? new Set() : await readCrashed(client, running);
  return rows.map((row) => (crashed.has(row.runId) ? { ...row, state: 'crashed' } : row));
}

/**
 * Adds two facts to a row: the connection whose ledger has the row, and the command that resumes the run. There is a
 * command only for a run that failed or crashed and whose Dag is in the config.
 */
export function createPastRun(
  row: CheckedRow,
  connectionId: string,
  dagConnections: DagConnectionMap,
): PastRun {
  const canResume = (row.state === 'failed' || row.state === 'crashed') && dagConnections.has(row.dagId);
  const resume = canResume ? formatResumeCommand(row.dagId, row.runId) : undefined;
  return { ...row, connectionId, resume };
}

/**
 * Returns the duration of a run in milliseconds: up to its end, or up to `now` if it is running. Undefined for a
 * crashed run, because nobody knows when its process died.
 */
export function getDuration({ state, startedAt, finishedAt }: PastRun, now: Date): number | undefined {
  const end = finishedAt ?? (state === 'running' ? now : undefined);
  // The clock of the server may be ahead of the clock of this process.
  return end && Math.max(0, end.getTime() - startedAt.getTime());
}

/**
 * Adds to each run the number of its done tasks and the rows that they wrote, summed over all databases of the run's
 * Dag. Keeps the order of the runs.
 */
async function countTasks(
  runs: readonly PastRun[],
  ledgers: Ledgers,
  dagConnections: DagConnectionMap,
): Promise<readonly CountedRun[]> {
  const done = new Map<PastRun, DoneCount>();
  for (const group of groupRuns(runs)) {
    const { dagId, connectionId } = group.first;
    const ids = group.runs.map(({ runId }) => runId);
    const answers = await ledgers.readEach(
      listRecordingConnections(dagConnections, dagId, connectionId),
      (client) => countDone(client, dagId, ids),
    );
    for (const run of group.runs) done.set(run, sumCounts(answers, run.runId));
  }
  return runs.map((run) => ({
    ...run,
    tasksDone: done.get(run)?.tasks ?? 0,
    rows: done.get(run)?.rows ?? 0,
  }));
}

/** Runs of one Dag that one ledger has. `first` stands for what all of them have in common. */
interface Group {
  readonly first: PastRun;
  readonly runs: PastRun[];
}

/** Groups the runs by Dag and by the connection that has them, because one query can count the tasks of a group. */
function groupRuns(runs: readonly PastRun[]): Iterable<Group> {
  const groups = new Map<string, Group>();
  for (const run of runs) {
    const key = JSON.stringify([run.dagId, run.connectionId]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { first: run, runs: [run] });
    else group.runs.push(run);
  }
  return groups.values();
}

/** Adds up the counts of one run over the answers of several ledgers. A ledger without tasks of the run counts 0. */
function sumCounts(
  answers: readonly LedgerAnswer<ReadonlyMap<string, DoneCount>>[],
  runId: string,
): DoneCount {
  const counts = answers.map(({ value }) => value.get(runId));
  return {
    tasks: counts.reduce((sum, count) => sum + (count?.tasks ?? 0), 0),
    rows: counts.reduce((sum, count) => sum + (count?.rows ?? 0), 0),
  };
}
