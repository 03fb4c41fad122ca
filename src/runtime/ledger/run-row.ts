import { Pipeline } from '../postgres/pipeline.js';
import type { DataInterval } from '../interval/interval.js';
import { send, type ProtocolClient } from '../postgres/protocol.js';
import { selectMilliseconds } from './milliseconds.js';
import { formatApplicationName, assertCommitted, BRIEF, COMMIT } from '../postgres/transaction.js';

/** The description of a run that its process writes when the process starts. */
export interface RunHeader {
  readonly runId: string;
  readonly dagId: string;
  readonly interval: DataInterval | undefined;
  readonly params: unknown;
  /** The IDs of the tasks whose watermarks the run ignores. `*` stands for all tasks. */
  readonly fullRefresh: readonly string[];
  readonly taskCount: number;
  readonly pid: number;
  readonly host: string;
  /** The version of this program. */
  readonly version: string;
  /** True if another scheduler starts the tasks of the run one by one, each in its own process. */
  readonly isByTask: boolean;
}

/** A row of `etl.run`. The state is `running` also if the process of the run has died. */
export interface RunRow {
  readonly runId: string;
  readonly dagId: string;
  readonly state: 'running' | 'success' | 'failed';
  readonly interval: DataInterval | undefined;
  readonly params: unknown;
  readonly fullRefresh: readonly string[];
  readonly taskCount: number;
  readonly resumes: number;
  readonly pid: number;
  readonly host: string;
  /** The version of the program that last worked on the run. */
  readonly version: string;
  readonly startedAt: Date;
  readonly finishedAt: Date | undefined;
}

/** Records that a run has started. Changes nothing if a run with this ID exists already. */
export async function insertRun(client: ProtocolClient, header: RunHeader): Promise<void> {
  await send(client, INSERT_RUN, listRunValues(header));
}

/**
 * The statement of `insertRun`, with the values of `listRunValues`. Inserts nothing if a run with this ID exists
 * already.
 */
export const INSERT_RUN = `insert into etl.run (run_id, dag_id, state, interval_start, interval_end, params, task_count,
                       pid, host, version, by_task, full_refresh)
   values ($1, $2, 'running', $3, $4, $5::jsonb, $6, $7, $8, $9, $10,
           array(select jsonb_array_elements_text($11::jsonb)))
   on conflict do nothing`;

/** Lists the values of `INSERT_RUN`, in the order of its parameters. */
export function listRunValues(header: RunHeader): readonly (string | null)[] {
  const { runId, dagId, interval, params, taskCount, pid, host, version, isByTask, fullRefresh } = header;
  return [
    runId,
    dagId,
    interval?.start.toISOString() ?? null,
    interval?.end.toISOString() ?? null,
    JSON.stringify(params ?? {}),
    String(taskCount),
    String(pid),
    host,
    version,
    String(isByTask),
    JSON.stringify(fullRefresh),
  ];
}

/** Records that another process continues a run. */
export async function reopenRun(client: ProtocolClient, header: RunHeader): Promise<void> {
  const { runId, taskCount, pid, host, version, isByTask } = header;
  await send(
    client,
    `update etl.run set state = 'running', resumes = resumes + 1, task_count = $2, pid = $3, host = $4, version = $5,
                        by_task = $6, finished_at = null
     where run_id = $1`,
    [runId, taskCount, pid, host, version, isByTask],
  );
}

/**
 * Records how a run ended, in a transaction of its own. Returns false, and changes nothing, if a newer process has
 * taken the epoch of the Dag. The COMMIT waits for the disk, also if the tasks' own COMMITs do not, so a crash of the
 * server loses nothing that was reported.
 */
export async function closeRun(
  client: ProtocolClient,
  { runId, dagId, holder }: { readonly runId: string; readonly dagId: string; readonly holder: string },
  state: 'success' | 'failed',
): Promise<boolean> {
  const statements = [
    'begin',
    'set local synchronous_commit = on',
    // By this name the next process of the Dag finds this transaction and ends it, if it was left open.
    `set local application_name = '${formatApplicationName(dagId, '')}'`,
    ...BRIEF,
  ].map((text) => ({ text }));
  // `for share` waits for a newer process that is taking the epoch, and then sees its `holder`.
  const close = {
    text: `with fence as (select 1 from etl.lock where dag_id = $3 and holder = $4 for share)
     update etl.run set state = $2, finished_at = clock_timestamp() where run_id = $1 and exists (select from fence)`,
    values: [runId, state, dagId, holder],
  };
  const answers = await new Pipeline([...statements, close, COMMIT]).send(client);
  assertCommitted(answers);
  return answers.at(-2)?.tag === 'UPDATE 1'; // The answer to `close`, which comes before COMMIT.
}

/** Finds a run by its ID. Returns undefined if the ledger has no such run. */
export async function findRun(client: ProtocolClient, runId: string): Promise<RunRow | undefined> {
  return (await readRuns(client, 'where run_id = $1', [runId]))[0];
}

/** Lists the newest runs of one Dag, or of all Dags if `dagId` is undefined. The newest run comes first. */
export function listRuns(
  client: ProtocolClient,
  { dagId, limit }: { readonly dagId?: string | undefined; readonly limit: number },
): Promise<readonly RunRow[]> {
  return readRuns(
    client,
    'where $1::text is null or dag_id = $1 order by started_at desc, run_id desc limit $2',
    [dagId ?? null, limit],
  );
}

/**
 * Finds the newest run of a Dag for this interval, or for any interval if `interval` is undefined. A resume continues
 * this run. Returns undefined if there is no such run.
 */
export async function findLastRun(
  client: ProtocolClient,
  dagId: string,
  interval: DataInterval | undefined,
): Promise<RunRow | undefined> {
  const runs = await readRuns(
    client,
    `where dag_id = $1 and ($2::timestamptz is null or (interval_start = $2 and interval_end = $3))
     order by started_at desc, run_id desc limit 1`,
    [dagId, interval?.start ?? null, interval?.end ?? null],
  );
  return runs[0];
}

/** Reads runs. `selection` is the SQL after the name of the table: conditions, order and limit. */
async function readRuns(
  client: ProtocolClient,
  selection: string,
  values: readonly unknown[],
): Promise<readonly RunRow[]> {
  const { rows } = await send(
    client,
    `select run_id as "runId", dag_id as "dagId", state, ${selectMilliseconds('interval_start')} as start,
            ${selectMilliseconds('interval_end')} as end, params, to_json(full_refresh) as "fullRefresh",
            task_count as "taskCount", resumes, pid, host, version,
            ${selectMilliseconds('started_at')} as "startedAt", ${selectMilliseconds('finished_at')} as "finishedAt"
     from etl.run ${selection}`,
    values,
  );
  return rows.map(toRunRow);
}

/** A run as `readRuns` selects it, with times in milliseconds. */
interface Columns extends Omit<RunRow, 'interval' | 'startedAt' | 'finishedAt'> {
  readonly start: number | null;
  readonly end: number | null;
  readonly startedAt: number;
  readonly finishedAt: number | null;
}

/** Converts the times of a row, and its nulls, to a `RunRow`. The interval is undefined if the Dag has no schedule. */
function toRunRow({ start, end, startedAt, finishedAt, ...others }: Columns): RunRow {
  const [from, until] = [toDate(start), toDate(end)];
  return {
    ...others,
    interval: from && until && { start: from, end: until, logicalDate: from },
    startedAt: new Date(startedAt),
    finishedAt: toDate(finishedAt),
  };
}

function toDate(milliseconds: number | null): Date | undefined {
  return milliseconds === null ? undefined : new Date(milliseconds);
}
