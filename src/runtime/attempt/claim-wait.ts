import type { LedgerSchema } from '../ledger/ledger.js';
import { buildClaimStart } from '../ledger/task-row.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { formatSilence } from '../database/silent-database.js';
import { MAY_SIGNAL } from '../postgres/transaction.js';
import { quoteLiteral } from '../sql/quote.js';
import { toError } from '../../errors.js';

/** The time that a claim waits before a notice is written. */
const NOTICE_MS = 500;
/**
 * The time that a claim waits before the runner terminates an older transaction of the same task. Such a transaction
 * belongs to a run that has lost its lock.
 */
const TERMINATE_MS = 2000;

/** The claim that `watchClaim` watches. */
export interface ClaimWait {
  readonly taskId: string;
  /** Returns the process ID of the backend that runs the claim. Undefined until its transaction has begun. */
  readonly pid: () => number | undefined;
  /** The `application_name` of all transactions of this task. */
  readonly name: string;
  /** The schema of the ledger. */
  readonly schema: LedgerSchema;
  /** Runs a query on another connection to the same server. Returns undefined if there is no other connection. */
  readonly ask: <T>(question: (control: ProtocolClient) => Promise<T>) => Promise<T | undefined>;
  /** Takes one line that a person should read. */
  readonly notice: (text: string) => void;
  /** The maximum number of transactions that the run has open at once. */
  readonly poolSize: number;
}

/**
 * Watches a claim until it has its answer. A claim waits while an older transaction of the same task is undecided,
 * for example after a kill -9 or a network failure. `watchClaim` writes a notice that names the other transaction and
 * its start. If the claim still waits after `TERMINATE_MS`, `watchClaim` terminates the older transaction of the same
 * task. That transaction can't commit any more, because its run has lost the lock. Transactions of other programs are
 * never terminated.
 */
export function watchClaim(claim: Promise<unknown>, wait: ClaimWait): void {
  const timers = [
    setTimeout(() => void inspectWait(wait, false), NOTICE_MS),
    setTimeout(() => void inspectWait(wait, true), TERMINATE_MS),
  ];
  const stop = (): void => timers.forEach((timer) => clearTimeout(timer));
  claim.then(stop, stop);
}

/**
 * Builds the query that selects the backends that block backend `$1`, but only while that backend runs its claim. A wait
 * of a later statement belongs to the task.
 */
const buildBlockersQuery = (schema: LedgerSchema): string => `
  select pid, usesysid, application_name as name, pg_catalog.to_char(xact_start at time zone 'UTC', 'HH24:MI:SS" UTC"') as since
  from pg_catalog.pg_stat_activity where pid operator(pg_catalog.=) any (pg_catalog.pg_blocking_pids($1))
    and exists (select from pg_catalog.pg_stat_activity where pid operator(pg_catalog.=) $1
      and pg_catalog.starts_with(query, ${quoteLiteral(buildClaimStart(schema))}))`;

/**
 * Asks the server which transactions block a claim, and reports or terminates them (see `reportBlockers`). Only writes a
 * notice if the transaction of the claim has not begun at the second look: then a pooler may have no free connection. Turns an error into a notice; never throws.
 */
async function inspectWait(wait: ClaimWait, terminate: boolean): Promise<void> {
  const { taskId, ask, notice } = wait;
  const pid = wait.pid();
  if (pid === undefined) {
    if (terminate) notice(formatSilence(`the BEGIN of "${taskId}"`, TERMINATE_MS, wait.poolSize));
    return;
  }
  try {
    await ask((control) => reportBlockers(control, { ...wait, pid }, terminate));
  } catch (error) {
    notice(
      `"${taskId}" waits for another transaction, which could not be looked up: ${toError(error).message}`,
    );
  }
}

/**
 * Handles each transaction that blocks a claim. Without `terminate`, writes a notice that names the transaction. With
 * `terminate`, terminates the transaction and writes a notice, but only if it belongs to the same task; all other
 * transactions are left alone.
 */
async function reportBlockers(
  control: ProtocolClient,
  { taskId, pid, name, schema, notice }: Omit<ClaimWait, 'pid'> & { readonly pid: number },
  terminate: boolean,
): Promise<void> {
  const { rows } = await send(control, buildBlockersQuery(schema), [pid]);
  for (const blocker of rows as { pid: number; name: string; since: string }[]) {
    const who = `pid ${blocker.pid} (${blocker.name}), in its transaction since ${blocker.since}`;
    if (!terminate) notice(`"${taskId}" waits for ${who}`);
    else if (blocker.name === name) {
      // Looks for the blocker again in the same statement: it may have ended meanwhile, and its process ID may be used
      // by another transaction.
      await send(
        control,
        `select pg_catalog.pg_terminate_backend(pid) from (${buildBlockersQuery(schema)}) as b
         where pid operator(pg_catalog.=) $2 and name operator(pg_catalog.=) $3 and ${MAY_SIGNAL}`,
        [pid, blocker.pid, name],
      );
      notice(`"${taskId}" terminated an older transaction of the same task: ${who}`);
    }
  }
}
