import { CLAIM_START } from '../ledger/task-row.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { toError } from '../../errors.js';

/** A wait that is shorter is nobody's business. */
const NOTICE_MS = 500;
/** An older transaction of the same task belongs to a run that has lost its lock: it is ended when it goes on so long. */
const TERMINATE_MS = 2000;

export interface ClaimWait {
  readonly taskId: string;
  /** The backend that claims, as the server numbers it; undefined until that has begun its transaction. */
  readonly pid: () => number | undefined;
  /** The `application_name` that every transaction of this task has. */
  readonly name: string;
  /** Asks over another connection; undefined where there is none. */
  readonly ask: <T>(question: (control: ProtocolClient) => Promise<T>) => Promise<T | undefined>;
  readonly notice: (text: string) => void;
}

/**
 * Watches a claim that is on its way. It waits while an older transaction of the same task is undecided, as after a kill
 * -9 or behind a network that is gone: then this says for whom it waits and since when, and ends that transaction after a
 * moment. The older run can't commit any more in any case.
 */
export function watchClaim(claim: Promise<unknown>, wait: ClaimWait): void {
  const timers = [
    setTimeout(() => void look(wait, false), NOTICE_MS),
    setTimeout(() => void look(wait, true), TERMINATE_MS),
  ];
  const stop = (): void => timers.forEach((timer) => clearTimeout(timer));
  claim.then(stop, stop);
}

/** Whoever a backend waits for, as long as it is its claim that waits: what comes after it is the task's business. */
const BLOCKERS = `
  select pid, application_name as name, to_char(xact_start, 'HH24:MI:SS') as since
  from pg_stat_activity where pid = any (pg_blocking_pids($1))
    and exists (select from pg_stat_activity where pid = $1 and starts_with(query, '${CLAIM_START}'))`;

async function look(wait: ClaimWait, terminate: boolean): Promise<void> {
  const { taskId, ask, notice } = wait;
  const pid = wait.pid();
  if (pid === undefined) return;
  try {
    await ask((control) => lookAt(control, { ...wait, pid }, terminate));
  } catch (error) {
    notice(`"${taskId}" waits, and it can't be seen for whom: ${toError(error).message}`);
  }
}

async function lookAt(
  control: ProtocolClient,
  { taskId, pid, name, notice }: Omit<ClaimWait, 'pid'> & { readonly pid: number },
  terminate: boolean,
): Promise<void> {
  const { rows } = await send(control, BLOCKERS, [pid]);
  for (const blocker of rows as { pid: number; name: string; since: string }[]) {
    const who = `pid ${blocker.pid} (${blocker.name}), in its transaction since ${blocker.since}`;
    if (!terminate) notice(`"${taskId}" waits for ${who}`);
    else if (blocker.name === name) {
      await send(
        control,
        `select pg_terminate_backend(pid) from (${BLOCKERS}) as b where pid = $2 and name = $3`,
        [pid, blocker.pid, name],
      );
      notice(`"${taskId}" has ended an older transaction of its own: ${who}`);
    }
  }
}
