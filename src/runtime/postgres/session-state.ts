import type { Database } from '../../hooks/hook.js';
import { toError } from '../../errors.js';
import { untilAnswered } from '../waiting.js';
import { type ProtocolClient, send } from './protocol.js';

/** The limit for the answer to the question about a session, on a connection that is open. */
export const QUESTION_MS = 15_000;

/** The server process of a session that is watched. */
export interface WatchedBackend {
  readonly pid: number;
  /** The ID of the transaction. Undefined for a transaction that only reads. */
  readonly xid?: string | undefined;
  /** The time when the server was started: two servers behind one address differ in it. */
  readonly serverStart: string;
}

/** The session that a `SilenceWatch` watches. */
export interface WatchedSession {
  /** The ID of the connection, for messages. */
  readonly connectionId: string;
  readonly client: ProtocolClient;
  readonly database: Database;
  /** Returns the backend. Undefined until the transaction has begun. */
  readonly backend: () => WatchedBackend | undefined;
  /** True if the begin was sent and has no answer. A pooler can let it wait for a session of the server. */
  readonly isBeginning: () => boolean;
  /** True if the active query may go on only when the task reads or writes, such as a COPY of the task. */
  readonly mayAwaitTask: () => boolean;
  /**
   * Asks on the connection that holds the Dag's lock. Absent if the database has no such connection: each question then
   * opens a connection of its own.
   */
  readonly ask?:
    (<T>(question: (control: ProtocolClient) => Promise<T>) => Promise<T | undefined>) | undefined;
}

/** A reason to believe that a session gets no answer any more. */
export interface Suspicion {
  readonly kind: 'stalled' | 'queued' | 'unreachable';
  /** The reason in words. */
  readonly why: string;
  readonly cause?: unknown;
}

/** A session as `pg_stat_activity` shows it. `pid` is null if the server has no such session. */
interface SessionState {
  readonly pid: number | null;
  readonly state: string | null;
  readonly wait_event: string | null;
  readonly server_start: string;
}

/**
 * Asks the server, on another connection, what a session does that waits for an answer. Returns undefined if the server
 * works on the statement, or if nobody can tell. `isAlone`: no other transaction of the process has begun in the database.
 */
export async function inspectSession(
  session: WatchedSession,
  isAlone: boolean,
): Promise<Suspicion | undefined> {
  const { client, backend, isBeginning, mayAwaitTask } = session;
  const known = backend();
  const pid = known?.pid ?? client.processID;
  if (!pid) return undefined;
  const isQueued = isAlone && isBeginning();
  const found = await askAnother(session, (control) => readState(control, pid, known?.xid));
  if (found === undefined) return isQueued ? QUEUED : undefined;
  if ('kind' in found) return found;
  if (found.pid !== null) return explainState(found, mayAwaitTask() && !hasUnsentBytes(client));
  if (known === undefined) return isQueued ? QUEUED : undefined;
  // Another server behind the same address knows nothing about the session.
  if (known.serverStart !== found.server_start) return undefined;
  return stalled(`the server has ended its transaction (pid ${pid}), and the answer did not arrive`);
}

/** Explains why a session with this state sends nothing. Undefined if the server works. */
function explainState(
  { pid, state, wait_event: event }: SessionState,
  isOurTurn: boolean,
): Suspicion | undefined {
  if (state?.startsWith('idle') === true)
    return stalled(`its session (pid ${pid}) waits for a statement, so a message was lost on the way`);
  // Without the right to see the session, the state is null; without `track_activities`, it is `disabled`.
  if (state !== 'active') return undefined;
  if (event === 'ClientWrite') return stalled(`the server (pid ${pid}) can't get rid of its answer`);
  if (event === 'ClientRead' && !isOurTurn)
    return stalled(`the server (pid ${pid}) waits for the rest of the statement`);
  return undefined;
}

function stalled(why: string): Suspicion {
  return { kind: 'stalled', why };
}

/** True if the socket has bytes that the network does not take. */
function hasUnsentBytes({ connection }: ProtocolClient): boolean {
  return (connection.stream.writableLength ?? 0) > 0;
}

const QUEUED: Suspicion = { kind: 'queued', why: 'a pooler has not given the task a session of the server' };

/**
 * Runs a question on the connection of the lock, or on a new connection. Returns a suspicion if the server lets nobody
 * connect. Returns undefined if the question gets no answer or fails: a pooler can be out of sessions, too.
 */
async function askAnother(
  { database, ask }: WatchedSession,
  question: (control: ProtocolClient) => Promise<SessionState | undefined>,
): Promise<SessionState | Suspicion | undefined> {
  if (ask !== undefined) return ask(question).catch(() => undefined);
  let control: Awaited<ReturnType<NonNullable<Database['openControl']>>> | undefined;
  try {
    control = await database.openControl?.();
  } catch (error) {
    // Every other error proves nothing: the server has answered, or this machine can't find or open anything.
    if (!isUnreachable(toError(error).cause)) return undefined;
    return {
      kind: 'unreachable',
      why: `nobody else gets an answer either: ${toError(error).message}`,
      cause: error,
    };
  }
  if (control === undefined) return undefined;
  const client = control as unknown as ProtocolClient;
  const cut = (): Error => {
    client.connection.stream.destroy();
    return new Error('no answer');
  };
  try {
    return await untilAnswered(question(client), QUESTION_MS, cut);
  } catch {
    // The server has let the connection in, so it lives; the next look asks again.
    return undefined;
  } finally {
    client.end().catch(() => undefined);
  }
}

/** The codes of the errors of a socket to a server that is gone or stands still. */
const UNREACHABLE = new Set(['ETIMEDOUT', 'ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH']);

/** Returns true if an error of connecting means that no server has answered. */
function isUnreachable(cause: unknown): boolean {
  const { code, message } = toError(cause) as Error & { readonly code?: unknown };
  // This error of the driver has no code.
  return typeof code === 'string' ? UNREACHABLE.has(code) : message.includes('Connection terminated');
}

/**
 * Reads the state of a session. With the ID of its transaction, the server finds the session only while that transaction
 * is open. Without, only in the same database. The query has no bound value: on the connection that holds the Dag's lock,
 * a portal would keep its snapshot.
 */
async function readState(
  control: ProtocolClient,
  pid: number,
  xid: string | undefined,
): Promise<SessionState | undefined> {
  const isSame =
    xid === undefined
      ? 'a.datname operator(pg_catalog.=) pg_catalog.current_database()'
      : `a.backend_xid operator(pg_catalog.=) '${xid}'::pg_catalog.xid8::pg_catalog.xid`;
  const { rows } = await send(
    control,
    `select a.pid, a.state, a.wait_event, ${SERVER_START} as server_start
     from (values (1)) as one (n)
     left join pg_catalog.pg_stat_activity a on a.pid operator(pg_catalog.=) ${pid} and ${isSame}`,
  );
  return (rows as SessionState[])[0];
}

/** The SQL of the time at which the server was started, as a text that no setting of the session changes. */
export const SERVER_START = 'extract(epoch from pg_catalog.pg_postmaster_start_time())::pg_catalog.text';
