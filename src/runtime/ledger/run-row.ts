import type { DataInterval } from '../interval/interval.js';
import { send } from '../postgres/protocol.js';
import { COMMIT, sendBrief } from '../postgres/transaction.js';
import { formatSessionPrefix, type Ledger, type LedgerSchema } from './ledger.js';
import { selectMilliseconds } from './milliseconds.js';
import { createNotWrittenError } from './row-not-written.js';
import { createTakenOverError } from './taken-over.js';

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
export async function insertRun({ client, schema }: Ledger, header: RunHeader): Promise<void> {
  await sendBrief(client, [{ text: buildInsertRun(schema, 'true'), values: listRunValues(header) }]);
}

/**
 * Builds the statement of `insertRun`, with the values of `listRunValues`. The statement inserts nothing if a run with this
 * ID exists already, or if `condition` is false.
 */
export function buildInsertRun({ sql }: LedgerSchema, condition: string): string {
  return `insert into ${sql}.run (run_id, dag_id, state, interval_start, interval_end, params, task_count,
                       pid, host, version, by_task, full_refresh)
   select $1, $2, 'running', $3, $4, $5, $6, $7, $8, $9, $10,
          array(select pg_catalog.jsonb_array_elements_text($11::pg_catalog.jsonb))
   where ${condition}
   on conflict do nothing`;
}

/** Lists the values of the statement of `buildInsertRun`, in the order of its parameters. */
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

/**
 * Records that another process continues a run. `holder` is this process. Throws ETL-7503, and changes nothing, if a newer
 * process has taken the epoch of the Dag. Throws ETL-4009 if the row was not written.
 */
export async function reopenRun(ledger: Ledger, header: RunHeader, holder: string): Promise<void> {
  const { runId, dagId, taskCount, pid, host, version, isByTask } = header;
  const { client, schema } = ledger;
  const [reopened] = await sendBrief(client, [
    {
      text: `with ${buildFence(schema, '$7', '$8')}
     update ${schema.sql}.run set state = 'running', resumes = resumes operator(pg_catalog.+) 1, task_count = $2, pid = $3,
       host = $4, version = $5, by_task = $6, finished_at = null
     where run_id operator(pg_catalog.=) $1 and exists (select from fence)`,
      values: [runId, String(taskCount), String(pid), host, version, String(isByTask), dagId, holder],
    },
  ]);
  if (reopened?.tag === 'UPDATE 1') return;
  await assertNewest(ledger, dagId, holder);
  throw createNotWrittenError(schema, 'run', 'nothing was started');
}

/**
 * Records how a run ended, in a transaction of its own. The COMMIT waits for the disk, also if the tasks' own COMMITs do
 * not, so a crash of the server loses nothing that was reported. Throws ETL-7503, and changes nothing, if a newer process
 * has taken the epoch of the Dag. Throws ETL-4009 if the row was not written.
 */
export async function closeRun(
  ledger: Ledger,
  { runId, dagId, holder }: { readonly runId: string; readonly dagId: string; readonly holder: string },
  state: 'success' | 'failed',
): Promise<void> {
  const { client, schema } = ledger;
  const close = {
    text: `with ${buildFence(schema, '$3', '$4')}
     update ${schema.sql}.run set state = $2, finished_at = pg_catalog.clock_timestamp()
     where run_id operator(pg_catalog.=) $1 and exists (select from fence)`,
    values: [runId, state, dagId, holder],
  };
  const settings = {
    synchronous_commit: 'on',
    // By this name the next process of the Dag finds this transaction and ends it, if it was left open.
    application_name: formatSessionPrefix(schema, dagId),
  };
  const [closed] = await sendBrief(client, [close], { settings, end: COMMIT });
  if (closed?.tag === 'UPDATE 1') return;
  const data = 'tasks that had succeeded are committed';
  await assertNewest(ledger, dagId, holder, data);
  throw createNotWrittenError(schema, 'run', data);
}

/**
 * Builds the CTE `fence`, which has a row if the process `holder` is the newest of the Dag. `for share` waits for a newer
 * process that is taking the epoch, and then sees its `holder`. The arguments are parameters.
 */
export function buildFence({ sql }: LedgerSchema, dagId: string, holder: string): string {
  return `fence as (select from ${sql}.lock
    where dag_id operator(pg_catalog.=) ${dagId} and holder operator(pg_catalog.=) ${holder} for share)`;
}

/** Throws ETL-7503 unless the process `holder` is the newest of the Dag. */
export async function assertNewest(
  { client, schema }: Ledger,
  dagId: string,
  holder: string,
  data?: string,
): Promise<void> {
  const { rows } = await send(client, `with ${buildFence(schema, '$1', '$2')} select from fence`, [
    dagId,
    holder,
  ]);
  if (rows.length === 0) throw createTakenOverError(dagId, { data });
}

/** Finds a run by its ID. Returns undefined if the ledger has no such run. */
export async function findRun(ledger: Ledger, runId: string): Promise<RunRow | undefined> {
  return (await readRuns(ledger, 'where run_id operator(pg_catalog.=) $1', [runId]))[0];
}

/** Lists the newest runs of one Dag, or of all Dags if `dagId` is undefined. The newest run comes first. */
export function listRuns(
  ledger: Ledger,
  { dagId, limit }: { readonly dagId?: string | undefined; readonly limit: number },
): Promise<readonly RunRow[]> {
  return readRuns(
    ledger,
    `where $1::pg_catalog.text is null or dag_id operator(pg_catalog.=) $1
     order by started_at desc, run_id desc limit $2`,
    [dagId ?? null, limit],
  );
}

/**
 * Finds the newest run of a Dag for this interval, or for any interval if `interval` is undefined. A resume continues
 * this run. Returns undefined if there is no such run.
 */
export async function findLastRun(
  ledger: Ledger,
  dagId: string,
  interval: DataInterval | undefined,
): Promise<RunRow | undefined> {
  const runs = await readRuns(
    ledger,
    `where dag_id operator(pg_catalog.=) $1 and ($2::pg_catalog.timestamptz is null
       or (interval_start operator(pg_catalog.=) $2 and interval_end operator(pg_catalog.=) $3))
     order by started_at desc, run_id desc limit 1`,
    [dagId, interval?.start ?? null, interval?.end ?? null],
  );
  return runs[0];
}

/** Reads runs. `selection` is the SQL after the name of the table: conditions, order and limit. */
async function readRuns(
  { client, schema }: Ledger,
  selection: string,
  values: readonly unknown[],
): Promise<readonly RunRow[]> {
  const { rows } = await send(
    client,
    `select run_id as "runId", dag_id as "dagId", state, ${selectMilliseconds('interval_start')} as start,
            ${selectMilliseconds('interval_end')} as end, params, pg_catalog.to_json(full_refresh) as "fullRefresh",
            task_count as "taskCount", resumes, pid, host, version,
            ${selectMilliseconds('started_at')} as "startedAt", ${selectMilliseconds('finished_at')} as "finishedAt"
     from ${schema.sql}.run ${selection}`,
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
