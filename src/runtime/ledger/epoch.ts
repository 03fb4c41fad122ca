import { Pipeline } from '../postgres/pipeline.js';
import {
  type StatementResult,
  type PipelineStatement,
  type ProtocolClient,
  send,
} from '../postgres/protocol.js';
import { INSERT_RUN, type RunHeader, runValues } from './run-row.js';

/** Who takes a Dag's epoch. */
export interface LockHolder {
  readonly dagId: string;
  readonly runId: string;
  /** New for every start of the program, so that a resumed run is told from the one that it follows. */
  readonly holder: string;
  readonly pid: number;
  readonly host: string;
}

/** How a new run begins. */
export interface BegunRun {
  /** What its tasks commit under. */
  readonly epoch: string;
  /** The run that had the epoch before has not come to its end. */
  readonly hasOpenPredecessor: boolean;
}

/**
 * Records a new run and makes its process the newest of the Dag, in one flight and one transaction. Undefined where there
 * is a run with this ID already: then nothing has changed.
 */
export async function beginRun(
  client: ProtocolClient,
  header: RunHeader,
  holder: LockHolder,
): Promise<BegunRun | undefined> {
  const values = runValues(header);
  const pipeline = new Pipeline([
    createPredecessorStatement(holder.dagId),
    {
      text: `with header as (${INSERT_RUN} returning 1), ${takeEpochText(values.length, 'header')}`,
      values: [...values, ...listHolderValues(holder)],
    },
  ]);
  const [before, begun] = await pipeline.send(client);
  const epoch = begun?.rows[0]?.[0];
  return epoch === undefined || epoch === null ? undefined : { epoch, hasOpenPredecessor: isOpen(before) };
}

/** True when the run that took the Dag's epoch last has not come to its end. */
export async function hasOpenPredecessor(client: ProtocolClient, dagId: string): Promise<boolean> {
  const [answer] = await new Pipeline([createPredecessorStatement(dagId)]).send(client);
  return isOpen(answer);
}

/**
 * Makes this process the newest holder of the Dag in one database, and returns the epoch that its tasks commit under.
 * Two connections to one database give the same epoch.
 */
export async function takeEpoch(client: ProtocolClient, holder: LockHolder): Promise<string> {
  const taken = await send(client, `with ${takeEpochText(0)}`, listHolderValues(holder));
  if (taken.rows[0] !== undefined) return String(taken.rows[0].epoch);
  // This process has it already, through another connection to the same database.
  const { rows } = await send(client, 'select epoch::text as epoch from etl.lock where dag_id = $1', [
    holder.dagId,
  ]);
  return String(rows[0]?.epoch);
}

/** What follows `with`, with its values behind `before` others; `where` is a CTE without whose row nothing is taken. */
function takeEpochText(before: number, where?: string): string {
  const [dagId, ...others] = [1, 2, 3, 4, 5].map((place) => `$${before + place}`);
  // A task of the run before holds the row for the moment of its COMMIT; nobody holds it for long.
  return `limited as materialized (select set_config('lock_timeout', '30s', true))
     insert into etl.lock as l (dag_id, epoch, holder, run_id, pid, host, taken_at)
     select ${dagId}, 1, ${others.join(', ')}, clock_timestamp() from limited${where === undefined ? '' : `, ${where}`}
     on conflict (dag_id) do update
       set epoch = l.epoch + 1, holder = excluded.holder, run_id = excluded.run_id,
           pid = excluded.pid, host = excluded.host, taken_at = excluded.taken_at
       where l.holder <> excluded.holder
     returning epoch::text as epoch`;
}

function listHolderValues({ dagId, holder, runId, pid, host }: LockHolder): readonly string[] {
  return [dagId, holder, runId, String(pid), host];
}

function createPredecessorStatement(dagId: string): PipelineStatement {
  return {
    text: `select exists (select from etl.lock l join etl.run r using (run_id)
                          where l.dag_id = $1 and r.state = 'running')`,
    values: [dagId],
  };
}

function isOpen(answer: StatementResult | undefined): boolean {
  return answer?.rows[0]?.[0] === 't';
}
