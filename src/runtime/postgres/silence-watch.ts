import { EtlError } from '../../errors.js';
import type { Database } from '../../hooks/hook.js';
import { formatDuration } from '../duration.js';
import { LATE_TIMER_MS } from '../waiting.js';
import { inspectSession, type Suspicion, type WatchedSession } from './session-state.js';

/** The time that a session is silent before the server is asked about it, and the time between two looks. */
export const LOOK_MS = 25_000;
/** The longest time between two looks at a statement that the server works on. */
const LONGEST_LOOK_MS = 300_000;
/** The number of looks in a row that must find a reason before the connection is destroyed. */
const LOOKS = { stalled: 2, queued: 4, unreachable: 5 } as const;

/** The watches of each database that have not ended. */
const watches = new WeakMap<Database, Set<SilenceWatch>>();

/**
 * Destroys the connection of a session that waits for an answer which can't come any more, because the network between
 * the two or the server stands still: neither sends an error. TCP keepalives do not notice a proxy that stays open.
 *
 * A statement may take hours, so silence alone proves nothing. After `LOOK_MS` without a byte, the watch asks the server
 * on another connection what the session does, and goes on asking. It destroys the connection if, several times in a row,
 *
 * - the session waits for a statement, or its transaction is over: the statement or its answer is lost (2 looks)
 * - a pooler has given the transaction no session, although no other transaction of the run has one (4 looks)
 * - the server lets nobody connect (5 looks, about 3 minutes)
 *
 * Any other answer, also an error of the server, leaves the session alone. A timer that is late does not count.
 */
export class SilenceWatch {
  readonly #session: WatchedSession;
  #timer: NodeJS.Timeout | undefined;
  #delayMs = LOOK_MS;
  /** The active query and the bytes that were read when the timer was set. */
  #active: unknown;
  #bytes = 0;
  #setAt = 0;
  /** The time at which the last byte was known to be read. */
  #quietSince = performance.now();
  #suspicions: { readonly kind: Suspicion['kind']; readonly count: number } | undefined;
  #isStopped = false;

  /** The error with which the connection was destroyed. Undefined if it was not destroyed. */
  error: EtlError | undefined;

  constructor(session: WatchedSession) {
    this.#session = session;
    // The embedded database runs in this process, and has no second connection.
    if (session.database.openControl === undefined) return;
    const others = watches.get(session.database);
    if (others === undefined) watches.set(session.database, new Set([this]));
    else others.add(this);
    this.#wait();
  }

  /** Ends the watch. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    watches.get(this.#session.database)?.delete(this);
  }

  /** Sets the timer for the next look. */
  #wait(): void {
    const { client } = this.#session;
    this.#active = client._getActiveQuery?.();
    this.#bytes = client.connection.stream.bytesRead;
    this.#setAt = performance.now();
    this.#timer = setTimeout(() => void this.#look(), this.#delayMs).unref();
  }

  /** Looks once, and destroys the connection or sets the timer for the next look. Never rejects. */
  async #look(): Promise<void> {
    const isLate = performance.now() - this.#setAt > this.#delayMs + LATE_TIMER_MS;
    if (!isLate && this.#isQuiet()) await this.#inspect();
    else if (!isLate) this.#forget();
    if (!this.#isStopped) this.#wait();
  }

  /** Returns true if the same query has been waiting for a byte of the server since the timer was set. */
  #isQuiet(): boolean {
    const { client } = this.#session;
    const { stream } = client.connection;
    const active = client._getActiveQuery?.() ?? undefined;
    return (
      active !== undefined &&
      active === this.#active &&
      stream.bytesRead === this.#bytes &&
      stream.isPaused?.() !== true
    );
  }

  #forget(): void {
    this.#delayMs = LOOK_MS;
    this.#quietSince = performance.now();
    this.#suspicions = undefined;
  }

  /** Asks the server what the session does. Destroys the connection after the last of the looks that a reason needs. */
  async #inspect(): Promise<void> {
    const { client, connectionId } = this.#session;
    const suspicion = await inspectSession(this.#session, !this.#hasBegunElsewhere());
    if (this.#isStopped) return;
    if (!this.#isQuiet()) return this.#forget();
    if (suspicion === undefined) {
      this.#suspicions = undefined;
      this.#delayMs = Math.min(this.#delayMs * 2, LONGEST_LOOK_MS);
      return;
    }
    const { kind } = suspicion;
    const count = this.#suspicions?.kind === kind ? this.#suspicions.count + 1 : 1;
    [this.#suspicions, this.#delayMs] = [{ kind, count }, LOOK_MS];
    if (count < LOOKS[kind]) return;
    this.stop();
    this.error = createStalledError(connectionId, performance.now() - this.#quietSince, suspicion);
    client.connection.stream.destroy(this.error);
  }

  /** True if another transaction of this process has begun in the database. */
  #hasBegunElsewhere(): boolean {
    for (const other of watches.get(this.#session.database) ?? [])
      if (other !== this && other.#session.backend() !== undefined) return true;
    return false;
  }
}

/** The advice for each kind of silence. */
const FIXES: Readonly<Record<Suspicion['kind'], (connectionId: string) => string>> = {
  stalled: () =>
    'look for a proxy, a firewall or a NAT gateway that drops connections without a word, and give the task `retries`',
  queued: () =>
    'make the pool of the pooler larger: a run needs one connection for its lock and one more for each task that runs at once',
  unreachable: (connectionId) =>
    `try \`etl connections test ${connectionId}\`, and give the task \`retries\``,
};

/** Creates the error of a session whose connection was destroyed after `silentMs` milliseconds without a byte. */
function createStalledError(
  connectionId: string,
  silentMs: number,
  { kind, why, cause }: Suspicion,
): EtlError {
  return new EtlError('ETL-1004', {
    what: `connection "${connectionId}" gave no answer within ${formatDuration(silentMs)}`,
    why,
    fix: FIXES[kind](connectionId),
    cause,
  });
}
