import { Pipeline } from '../postgres/pipeline.js';
import {
  type StatementResult,
  type PipelineStatement,
  type ProtocolClient,
  send,
} from '../postgres/protocol.js';
import { INSERT_RUN, type RunHeader, listRunValues } from './run-row.js';

/** The process that takes the epoch of a Dag. */
export interface LockHolder {
  readonly dagId: string;
  readonly runId: string;
  /** A UUID that is new for each start of the program. The UUID distinguishes a resumed run from the process before. */
  readonly holder: string;
  readonly pid: number;
  readonly host: string;
}

/** A run that `beginRun` has recorded. */
export interface BegunRun {
  /** The epoch of the run. A task of the run commits only while this epoch is the newest. */
  readonly epoch: string;
  /** True if the run that had the previous epoch has not ended. */
  readonly hasOpenPredecessor: boolean;
}

/**
 * Records a new run and makes its process the newest of the Dag, in one pipeline and one transaction. Returns
 * undefined, and changes nothing, if a run with this ID exists already.
 */
export async function beginRun(
  client: ProtocolClient,
  header: RunHeader,
  holder: LockHolder,
): Promise<BegunRun | undefined> {
  const values = listRunValues(header);
  const pipeline = new Pipeline([
    createPredecessorStatement(holder.dagId),
    {
      text: `with header as (${INSERT_RUN} returning 1), ${buildTakeEpochText(values.length, 'header')}`,
      values: [...values, ...listHolderValues(holder)],
    },
  ]);
  const [before, begun] = await pipeline.send(client);
  const epoch = begun?.rows[0]?.[0];
  return epoch === undefined || epoch === null ? undefined : { epoch, hasOpenPredecessor: isOpen(before) };
}

/** Returns true if the run that last took the Dag's epoch has not ended. */
export async function hasOpenPredecessor(client: ProtocolClient, dagId: string): Promise<boolean> {
  const [answer] = await new Pipeline([createPredecessorStatement(dagId)]).send(client);
  return isOpen(answer);
}

/**
 * Makes this process the newest holder of the Dag in one database, and returns the epoch of its tasks. A second call of
 * the same process on the same database returns the same epoch, also through another connection.
 */
export async function takeEpoch(client: ProtocolClient, holder: LockHolder): Promise<string> {
  const taken = await send(client, `with ${buildTakeEpochText(0)}`, listHolderValues(holder));
  if (taken.rows[0] !== undefined) return String(taken.rows[0].epoch);
  // The statement changes no row if this process is the holder already: it has taken the epoch through another
  // connection to the same database.
  const { rows } = await send(client, 'select epoch::text as epoch from etl.lock where dag_id = $1', [
    holder.dagId,
  ]);
  return String(rows[0]?.epoch);
}

/**
 * Builds the text after `with` of a statement that takes an epoch. The statement returns the new epoch, or no row if
 * the same process is the holder already. The statement has the values of `listHolderValues`, after `before` other
 * values.
 * `condition` names a CTE: if the CTE returns no row, the statement takes no epoch.
 */
function buildTakeEpochText(before: number, condition?: string): string {
  const [dagId, ...others] = [1, 2, 3, 4, 5].map((position) => `$${before + position}`);
  // The CTE `limited` sets a time limit for the lock on the row, in the same statement. The insert reads from
  // `limited`, because the server does not run a CTE that nothing reads. A task of the previous run locks the row only
  // during its COMMIT, so 30 seconds are enough.
  return `limited as materialized (select set_config('lock_timeout', '30s', true))
     insert into etl.lock as l (dag_id, epoch, holder, run_id, pid, host, taken_at)
     select ${dagId}, 1, ${others.join(', ')}, clock_timestamp() from limited${condition === undefined ? '' : `, ${condition}`}
     on conflict (dag_id) do update
       set epoch = l.epoch + 1, holder = excluded.holder, run_id = excluded.run_id,
           pid = excluded.pid, host = excluded.host, taken_at = excluded.taken_at
       where l.holder <> excluded.holder
     returning epoch::text as epoch`;
}

/** Lists the values of the statement of `buildTakeEpochText`, in the order of its parameters. */
function listHolderValues({ dagId, holder, runId, pid, host }: LockHolder): readonly string[] {
  return [dagId, holder, runId, String(pid), host];
}

/** Creates the statement that asks whether the run with the newest epoch of the Dag has the state `running`. */
function createPredecessorStatement(dagId: string): PipelineStatement {
  return {
    text: `select exists (select from etl.lock l join etl.run r using (run_id)
                          where l.dag_id = $1 and r.state = 'running')`,
    values: [dagId],
  };
}

/** Reads the answer to the statement of `createPredecessorStatement`. A pipeline returns the text `t` for true. */
function isOpen(answer: StatementResult | undefined): boolean {
  return answer?.rows[0]?.[0] === 't';
}
