import {
  listHomes,
  listDagConnections,
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

/** A run as the ledger has it; `crashed` is one that says `running` and that no process works at. */
export interface PastRun extends Omit<RunRow, 'state'> {
  readonly state: RunRow['state'] | 'crashed';
  /** Where it was found. */
  readonly connectionId: string;
  /** The command that goes on with it, where there is something to go on with. */
  readonly resume: string | undefined;
}

/** A run in a list, with what is done of it. */
export interface CountedRun extends PastRun {
  readonly tasksDone: number;
  readonly rows: number;
}

/**
 * The newest runs first: of one Dag, or of all that have a home in common with the config's. Throws `EtlError` for a
 * Dag that nobody knows.
 */
export async function readRuns(
  program: Program,
  ledgers: Ledgers,
  { dagId, limit }: { readonly dagId: string | undefined; readonly limit: number },
): Promise<readonly CountedRun[]> {
  const places = listDagConnections(program);
  const answers = await ledgers.readEach(listHomes(places, dagId), async (client) =>
    withCrashed(client, await listRuns(client, { dagId, limit })),
  );
  const runs = answers
    .flatMap(({ connectionId, value }) => value.map((run) => createPastRun(run, connectionId, places)))
    .toSorted((a, b) => b.startedAt.getTime() - a.startedAt.getTime());
  if (dagId !== undefined && runs.length === 0 && !places.has(dagId))
    throw createUnknownDagError(dagId, [...places.keys()]);
  return countTasks(runs.slice(0, limit), ledgers, places);
}

/** A row with the state that a look at the lock gives it. */
type JudgedRow = Omit<RunRow, 'state'> & Pick<PastRun, 'state'>;

/** Finds out which of these runs have crashed. */
export async function withCrashed(
  client: ProtocolClient,
  rows: readonly RunRow[],
): Promise<readonly JudgedRow[]> {
  const running = rows.filter(({ state }) => state === 'running').map(({ runId }) => runId);
  const crashed = running.length === 0 ? new Set() : await readCrashed(client, running);
  return rows.map((row) => (crashed.has(row.runId) ? { ...row, state: 'crashed' } : row));
}

/** A run with how to go on with it. */
export function createPastRun(row: JudgedRow, connectionId: string, places: DagConnectionMap): PastRun {
  const canResume = (row.state === 'failed' || row.state === 'crashed') && places.has(row.dagId);
  const resume = canResume ? formatResumeCommand(row.dagId, row.runId) : undefined;
  return { ...row, connectionId, resume };
}

/** How long a run took, or takes, in milliseconds; nobody knows when a crashed one ended. */
export function getDuration({ state, startedAt, finishedAt }: PastRun, now: Date): number | undefined {
  const end = finishedAt ?? (state === 'running' ? now : undefined);
  // The server's clock may be ahead of ours.
  return end && Math.max(0, end.getTime() - startedAt.getTime());
}

async function countTasks(
  runs: readonly PastRun[],
  ledgers: Ledgers,
  places: DagConnectionMap,
): Promise<readonly CountedRun[]> {
  const done = new Map<PastRun, DoneCount>();
  for (const group of groupRuns(runs)) {
    const { dagId, connectionId } = group.first;
    const ids = group.runs.map(({ runId }) => runId);
    const answers = await ledgers.readEach(listRecordingConnections(places, dagId, connectionId), (client) =>
      countDone(client, dagId, ids),
    );
    for (const run of group.runs) done.set(run, sumOf(answers, run.runId));
  }
  return runs.map((run) => ({
    ...run,
    tasksDone: done.get(run)?.tasks ?? 0,
    rows: done.get(run)?.rows ?? 0,
  }));
}

interface Group {
  readonly first: PastRun;
  readonly runs: PastRun[];
}

/** The runs of one Dag and one home are counted together. */
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

function sumOf(answers: readonly LedgerAnswer<ReadonlyMap<string, DoneCount>>[], runId: string): DoneCount {
  const counts = answers.map(({ value }) => value.get(runId));
  return {
    tasks: counts.reduce((sum, count) => sum + (count?.tasks ?? 0), 0),
    rows: counts.reduce((sum, count) => sum + (count?.rows ?? 0), 0),
  };
}
