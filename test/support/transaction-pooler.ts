import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Client } from 'pg';
import { cluster } from './cluster.js';
import { encode, Frames, encodeInt32, readStartup, type Startup } from './wire-frames.js';

/** A pooler in transaction mode in front of the tests' server. */
export interface Pooler extends AsyncDisposable {
  /** Returns the URL of the same database through the pooler. */
  url(direct: string): string;
}

/** The default number of sessions at the server for one database and user. A client waits if no session is free. */
const POOL_SIZE = 6;
/** The parameters of a startup message that PgBouncer accepts. PgBouncer refuses all others. */
const KNOWN = new Set(['user', 'database', 'client_encoding', 'application_name', 'datestyle', 'timezone']);

/**
 * Starts a pooler in transaction mode in front of the real server. It behaves as PgBouncer 1.18 does:
 *
 * - A transaction gets the session that has been free for the longest time.
 * - Nothing resets a session between two transactions.
 * - The process IDs that clients see are invented.
 * - A prepared statement exists only in the session that prepared it.
 * - A client that sends `options` is refused.
 *
 * With the pool size 0, it accepts each client and answers no statement.
 */
export async function startTransactionPooler(poolSize = POOL_SIZE): Promise<Pooler> {
  const pools = new Map<string, Pool>();
  const clients = new Map<number, PoolerClient>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined); // Tests kill clients.
    const client = new PoolerClient(socket, clients);
    client.serve((startup) => selectPool(pools, startup, poolSize));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { port: serverPort } = await cluster();
  return {
    url: (direct) => direct.replace(`:${serverPort}/`, `:${port}/`),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      for (const pool of pools.values()) pool.close();
      server.close();
      await once(server, 'close');
    },
  };
}

function selectPool(
  pools: Map<string, Pool>,
  { database = '', user = '' }: Startup['parameters'],
  size: number,
): Pool {
  const key = JSON.stringify([database, user]);
  const pool = pools.get(key) ?? new Pool(database, user, size);
  pools.set(key, pool);
  return pool;
}

/** A session at the server. `pg` opens the session and signs in. After that, the pooler forwards the bytes unchanged. */
class PooledSession {
  readonly socket: Socket;
  readonly #client: Client;
  readonly #frames = new Frames();
  onFrame: ((frame: Buffer) => void) | undefined;
  onEnd: (() => void) | undefined;
  applicationName = '';

  private constructor(client: Client) {
    this.#client = client;
    this.socket = (client as unknown as { connection: { stream: Socket } }).connection.stream;
    this.socket.removeAllListeners();
    this.socket.on('error', () => undefined); // `close` follows.
    this.socket.on('close', () => this.onEnd?.());
    this.socket.on('data', (chunk: Buffer) => {
      for (const frame of this.#frames.add(chunk)) this.onFrame?.(frame);
    });
  }

  static async open(database: string): Promise<PooledSession> {
    const server = await cluster();
    const client = new Client({ connectionString: server.url(database) });
    await client.connect();
    return new PooledSession(client);
  }

  /** Asks the server, over a separate connection, to cancel the query of the session. */
  async cancel(): Promise<void> {
    const { processID, secretKey } = this.#client as unknown as { processID: number; secretKey: number };
    const { port } = await cluster();
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.end(
      Buffer.concat([
        encodeInt32(16),
        encodeInt32(80_877_102),
        encodeInt32(processID),
        encodeInt32(secretKey),
      ]),
    );
  }
}

/** The sessions of one database and user, and the clients that wait for a session. */
class Pool {
  readonly #database: string;
  readonly user: string;
  readonly #size: number;
  readonly #free: PooledSession[] = [];
  readonly #all = new Set<PooledSession>();
  readonly #waiting: ((session: PooledSession | Promise<PooledSession>) => void)[] = [];
  #opening = 0;

  constructor(database: string, user: string, size: number) {
    [this.#database, this.user, this.#size] = [database, user, size];
  }

  async acquire(): Promise<PooledSession> {
    const free = this.#free.shift();
    if (free) return free;
    if (this.#all.size + this.#opening < this.#size) return this.#open();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  release(session: PooledSession): void {
    session.onFrame = undefined;
    session.onEnd = () => this.#forget(session);
    session.socket.resume();
    if (!this.#all.has(session)) return;
    const next = this.#waiting.shift();
    if (next) next(session);
    else this.#free.push(session);
  }

  /** Ends a session, because its state is unknown. */
  discard(session: PooledSession): void {
    session.onFrame = undefined;
    session.onEnd = undefined;
    session.socket.destroy();
    this.#forget(session);
  }

  close(): void {
    for (const session of this.#all) session.socket.destroy();
  }

  async #open(): Promise<PooledSession> {
    this.#opening++;
    try {
      const session = await PooledSession.open(this.#database);
      this.#all.add(session);
      return session;
    } finally {
      this.#opening--;
    }
  }

  #forget(session: PooledSession): void {
    this.#all.delete(session);
    const at = this.#free.indexOf(session);
    if (at >= 0) this.#free.splice(at, 1);
    this.#waiting.shift()?.(this.#open());
  }
}

/** The settings that a client is told after it has signed in. */
const PARAMETERS = { server_version: '14.0', client_encoding: 'UTF8', standard_conforming_strings: 'on' };

/** A client of the pooler. */
class PoolerClient {
  readonly #socket: Socket;
  readonly #clients: Map<number, PoolerClient>;
  readonly #frames = new Frames({ hasStartup: true });
  readonly #key = randomInt(1, 2 ** 31);
  #pool: Pool | undefined;
  #applicationName = '';
  #session: PooledSession | undefined;
  #state = 'I';
  /** The number of ReadyForQuery messages that the server has not sent yet. */
  #expected = 0;
  /** The messages of the client while it waits for a session. */
  #queue: Buffer[] | undefined;

  constructor(socket: Socket, clients: Map<number, PoolerClient>) {
    [this.#socket, this.#clients] = [socket, clients];
  }

  serve(findPool: (parameters: Startup['parameters']) => Pool): void {
    this.#socket.on('data', (chunk: Buffer) => {
      for (const frame of this.#frames.add(chunk))
        if (frame.length > 0 && this.#pool) this.#receive(frame);
        else this.#start(readStartup(frame), findPool);
    });
    this.#socket.on('close', () => this.#endSession());
  }

  #start(startup: Startup, findPool: (parameters: Startup['parameters']) => Pool): void {
    if (startup.kind === 'encryption') {
      this.#socket.write('N');
      this.#frames.expectStartup();
    } else if (startup.kind === 'cancel') {
      void this.#clients.get(startup.key)?.cancel();
      this.#socket.end();
    } else this.#signIn(startup.parameters, findPool);
  }

  /** Cancels the query of this client. */
  async cancel(): Promise<void> {
    await this.#session?.cancel();
  }

  #signIn(parameters: Startup['parameters'], findPool: (parameters: Startup['parameters']) => Pool): void {
    const unknown = Object.keys(parameters).find((name) => !KNOWN.has(name.toLowerCase()));
    if (unknown !== undefined) {
      const text = `SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: ${unknown}\0\0`;
      this.#socket.end(encode('E', text));
      return;
    }
    this.#pool = findPool(parameters);
    this.#applicationName = parameters['application_name'] ?? '';
    this.#clients.set(this.#key, this);
    const statuses = Object.entries(PARAMETERS).map(([name, value]) => encode('S', `${name}\0${value}\0`));
    const key = encode('K', Buffer.concat([encodeInt32(this.#key), encodeInt32(this.#key)]));
    this.#socket.write(Buffer.concat([encode('R', encodeInt32(0)), ...statuses, key, encode('Z', 'I')]));
  }

  #receive(frame: Buffer): void {
    const type = String.fromCharCode(frame[0] ?? 0);
    if (type === 'X') this.#socket.end();
    else if (this.#session) this.#send(frame);
    else if (this.#queue) this.#queue.push(frame);
    else {
      this.#queue = [frame];
      void this.#assign();
    }
  }

  #send(frame: Buffer): void {
    if ('QSF'.includes(String.fromCharCode(frame[0] ?? 0))) this.#expected++;
    if (this.#session) forwardFrame(frame, this.#socket, this.#session.socket);
  }

  /** Takes a session, sets the client's application name, and sends the messages that waited. */
  async #assign(): Promise<void> {
    const session = await this.#pool?.acquire().catch(() => undefined);
    if (!session) return void this.#socket.destroy();
    if (this.#socket.destroyed) return this.#pool?.release(session);
    this.#session = session;
    session.onEnd = () => this.#endClient();
    if (session.applicationName !== this.#applicationName) await this.#setApplicationName(session);
    session.onFrame = (frame) => this.#receiveAnswer(frame);
    const queue = this.#queue ?? [];
    this.#queue = undefined;
    for (const frame of queue) this.#send(frame);
  }

  async #setApplicationName(session: PooledSession): Promise<void> {
    session.applicationName = this.#applicationName;
    const name = this.#applicationName.replaceAll("'", "''");
    session.socket.write(encode('Q', `set application_name = '${name}'\0`));
    await new Promise<void>((resolve) => {
      session.onFrame = (frame) => frame[0] === READY && resolve();
    });
  }

  #receiveAnswer(frame: Buffer): void {
    if (this.#session) forwardFrame(frame, this.#session.socket, this.#socket);
    if (frame[0] !== READY) return;
    this.#state = String.fromCharCode(frame[5] ?? 0);
    this.#expected--;
    const session = this.#session;
    if (this.#expected > 0 || this.#state !== 'I' || !session) return;
    this.#session = undefined;
    this.#pool?.release(session);
  }

  /** Ends the client after the server's last message, because the server has ended the session. */
  #endClient(): void {
    if (this.#session) this.#pool?.discard(this.#session);
    this.#session = undefined;
    this.#socket.end();
  }

  #endSession(): void {
    this.#clients.delete(this.#key);
    if (this.#session) this.#pool?.discard(this.#session);
    this.#session = undefined;
  }
}

/** Writes a message. Pauses the sender until the receiver has taken the message. */
function forwardFrame(frame: Buffer, from: Socket, to: Socket): void {
  if (to.write(frame)) return;
  from.pause();
  to.once('drain', () => from.resume());
}

/** The type byte of ReadyForQuery. */
const READY = 'Z'.charCodeAt(0);
