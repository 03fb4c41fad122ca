import { toError } from '../../errors.js';
import { formatDuration } from '../duration.js';
import type { LedgerSchema } from '../ledger/ledger.js';
import { buildClaimStart } from '../ledger/task-row.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { quoteLiteral } from '../sql/quote.js';

/** The time that a statement runs before the server is first asked whether the statement waits for a lock. */
const FIRST_MS = 2000;
/** The maximum time between two questions. */
const MAX_MS = 30_000;
/** The maximum number of holders of a lock that a notice names. */
const MOST_HOLDERS = 3;

/** The attempt whose statements are watched. */
export interface BlockedWatchOptions {
  readonly taskId: string;
  /** Returns an object that stands for the statement that is running. Undefined if no statement is running. */
  readonly running: () => object | undefined;
  /** The schema of the ledger. */
  readonly schema: LedgerSchema;
  /** Returns the process ID of the backend. Undefined until the transaction has begun. */
  readonly pid: () => number | undefined;
  /** Runs a query on another connection to the same server. Returns undefined if there is no other connection. */
  readonly ask: <T>(question: (control: ProtocolClient) => Promise<T>) => Promise<T | undefined>;
  /** Takes one line that a person should read. */
  readonly notice: (text: string) => void;
}

/**
 * Watches whether a statement of a task waits for a lock of another transaction, and reports who holds the lock. Asks
 * the server only while one statement runs for `FIRST_MS` or longer, at growing distances.
 */
export class BlockedWatch {
  readonly #options: BlockedWatchOptions;
  readonly #reported = new Set<string>();
  #timer: NodeJS.Timeout;
  #delayMs = FIRST_MS;
  #seen: object | undefined;
  #isStopped = false;
  /** True after a question has failed. Only the first failure is reported. */
  #hasFailed = false;

  /** The holders of the lock that the present statement waits for. Undefined if it is not known to wait. */
  holders: string | undefined;

  constructor(options: BlockedWatchOptions) {
    this.#options = options;
    this.#timer = setTimeout(this.#look, FIRST_MS).unref();
  }

  /** Ends the watch. `holders` stays. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  readonly #look = (): void => {
    void this.#lookOnce();
  };

  /** Asks about a statement that was running already at the last look, and plans the next look. Never rejects. */
  async #lookOnce(): Promise<void> {
    const running = this.#options.running();
    const isSame = running !== undefined && running === this.#seen;
    this.#seen = running;
    if (isSame) await this.#inspect();
    else [this.#delayMs, this.holders] = [FIRST_MS, undefined];
    if (this.#isStopped) return;
    this.#timer = setTimeout(this.#look, this.#delayMs).unref();
    if (isSame) this.#delayMs = Math.min(this.#delayMs * 2, MAX_MS);
  }

  /** Asks the server for the holders of the lock, and writes a notice for new holders. Never rejects. */
  async #inspect(): Promise<void> {
    const { taskId, pid, ask, notice, schema } = this.#options;
    const backend = pid();
    if (backend === undefined) return;
    try {
      const holders = (await ask((control) => readHolders(control, backend, schema))) ?? [];
      if (this.#isStopped) return;
      this.holders = holders.length === 0 ? undefined : holders.map(formatHolder).join('; ');
      // The text grows older, so the transactions decide whether they were reported.
      const key = holders.map(({ pid: holder, since }) => `${holder} ${since}`).join();
      if (this.holders === undefined || this.#reported.has(key)) return;
      this.#reported.add(key);
      notice(`"${taskId}" waits for a lock: ${this.holders}`);
    } catch (error) {
      if (this.#isStopped || this.#hasFailed) return;
      this.#hasFailed = true;
      notice(
        `who holds the lock that "${taskId}" may wait for could not be looked up: ${toError(error).message}`,
      );
    }
  }
}

/** A transaction that holds a lock, as the server describes it. */
interface Holder {
  readonly pid: number;
  readonly who: string;
  readonly since: string | null;
  readonly seconds: number | null;
  readonly state: string | null;
  readonly command: string | null;
}

/**
 * Reads who blocks a backend. Of a statement only its first word is read, because the rest can contain values of rows. The
 * wait of a claim is left out, because `watchClaim` reports it. The query has no bound value: on the connection that
 * holds the Dag's lock, a portal would keep its snapshot.
 */
async function readHolders(
  control: ProtocolClient,
  pid: number,
  schema: LedgerSchema,
): Promise<readonly Holder[]> {
  const { rows } = await send(
    control,
    `select b.pid, pg_catalog.concat_ws(', ', 'user ' operator(pg_catalog.||) a.usename::pg_catalog.text,
              'application ' operator(pg_catalog.||) nullif(a.application_name, '')) as who,
            pg_catalog.to_char(a.xact_start at time zone 'UTC', 'HH24:MI:SS') as since,
            extract(epoch from pg_catalog.clock_timestamp() operator(pg_catalog.-) a.xact_start)::pg_catalog.float8 as seconds,
            a.state, pg_catalog.upper(pg_catalog.substring(a.query, '^\\s*([A-Za-z]+)')) as command
     from pg_catalog.unnest(pg_catalog.pg_blocking_pids(${pid})) as b (pid)
     left join pg_catalog.pg_stat_activity a on a.pid operator(pg_catalog.=) b.pid
     where not exists (select from pg_catalog.pg_stat_activity c where c.pid operator(pg_catalog.=) ${pid}
       and pg_catalog.starts_with(c.query, ${quoteLiteral(buildClaimStart(schema))}))
     limit ${MOST_HOLDERS}`,
  );
  return rows as Holder[];
}

/** Describes the holder of a lock for a person. A prepared transaction has the process ID 0. */
function formatHolder({ pid, who, since, seconds, state, command }: Holder): string {
  if (pid === 0)
    return 'a prepared transaction has it (`select gid from pg_prepared_xacts` names it, `rollback prepared` ends it)';
  const name = who === '' ? `pid ${pid}` : `pid ${pid} (${who})`;
  const began =
    since === null
      ? ''
      : `, in its transaction since ${since} UTC (${formatDuration((seconds ?? 0) * 1000)})`;
  const doing = state === null ? '' : `, ${state}${command === null ? '' : `, last statement ${command}`}`;
  return `${name} has it${began}${doing}`;
}
