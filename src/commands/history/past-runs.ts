import {
  assertKnownDag,
  listHomes,
  mapDagConnections,
  listRecordingConnections,
  type DagConnectionMap,
} from '../program/dag-connections.js';
import type { InLedger, Ledgers } from '../program/ledgers.js';
import type { Program } from '../program/program.js';
import { countDone, readCrashed, type DoneCount } from '../../runtime/ledger/run-history.js';
import { listRuns, type RunRow } from '../../runtime/ledger/run-row.js';
import { DEFAULT_ZONE } from '../../runtime/interval/zone-time.js';
import { formatResumeCommand } from '../../runtime/report/command-line.js';
import type { Ledger } from '../../runtime/ledger/ledger.js';

/** A run of the ledger. Its state is `crashed` if the ledger says `running` but no process works on the run. */
export interface PastRun extends Omit<RunRow, 'state'> {
  readonly state: RunRow['state'] | 'crashed';
  /** The connection whose ledger has the run. */
  readonly connectionId: string;
  /** The command that resumes the run. Undefined if the run did not fail or if the config does not have the Dag. */
  readonly resume: string | undefined;
  /** The time zone in which a person reads the times of the run: that of the Dag's schedule, or UTC. */
  readonly timezone: string;
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
  const rows = await ledgers.readEach(listHomes(program, dagConnections, dagId), async (ledger) =>
    markCrashed(ledger, await listRuns(ledger, { dagId, limit })),
  );
  const runs = rows
    .map((row) => createPastRun(row, dagConnections))
    .toSorted((a, b) => b.startedAt.getTime() - a.startedAt.getTime());
  if (runs.length === 0) assertKnownDag(dagConnections, dagId);
  return countTasks(runs.slice(0, limit), ledgers, dagConnections);
}

/** A run row whose state is `crashed` if the ledger says `running` but nobody holds the run's lock. */
type CheckedRow = Omit<RunRow, 'state'> & Pick<PastRun, 'state'>;

/**
 * Returns the rows with the state `crashed` for runs whose process died: the ledger calls the run `running`, but nobody
 * holds its lock. All other rows are returned unchanged. Changes nothing in the ledger.
 */
export async function markCrashed(ledger: Ledger, rows: readonly RunRow[]): Promise<readonly CheckedRow[]> {
  const running = rows.filter(({ state }) => state === 'running').map(({ runId }) => runId);
  const crashed = running.length === 0 ? new Set() : await readCrashed(ledger, running);
  return rows.map((row) => (crashed.has(row.runId) ? { ...row, state: 'crashed' } : row));
}

/**
 * Adds to a row the command that resumes the run. There is a command only for a run that failed or crashed and whose
 * Dag is in the config.
 */
export function createPastRun(row: InLedger<CheckedRow>, dagConnections: DagConnectionMap): PastRun {
  const canResume = (row.state === 'failed' || row.state === 'crashed') && dagConnections.has(row.dagId);
  const resume = canResume ? formatResumeCommand(row.dagId, row.runId) : undefined;
  return { ...row, resume, timezone: dagConnections.get(row.dagId)?.timezone ?? DEFAULT_ZONE };
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
  const counted = new Map<PastRun, CountedRun>();
  for (const run of runs) {
    if (counted.has(run)) continue;
    const { dagId, connectionId } = run;
    // One query can count the tasks of all runs of one Dag that one ledger has.
    const group = runs.filter((each) => each.dagId === dagId && each.connectionId === connectionId);
    const ids = group.map(({ runId }) => runId);
    const counts = await ledgers.readEach(
      listRecordingConnections(dagConnections, dagId, connectionId),
      (ledger) => countDone(ledger, dagId, ids),
    );
    for (const each of group) counted.set(each, addCounts(each, counts));
  }
  return runs.flatMap((run) => counted.get(run) ?? []);
}

/** Adds to a run its counts, summed over all ledgers. A ledger without tasks of the run counts 0. */
function addCounts(run: PastRun, counts: readonly DoneCount[]): CountedRun {
  const own = counts.filter(({ runId }) => runId === run.runId);
  return {
    ...run,
    tasksDone: own.reduce((sum, { tasks }) => sum + tasks, 0),
    rows: own.reduce((sum, { rows }) => sum + rows, 0),
  };
}
