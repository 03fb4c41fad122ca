import type { Duplex } from 'node:stream';

/** A statement that a client sent and that the server has answered or refused. */
export interface TracedStatement {
  /** The process ID of the session. Behind a pooler, the ID that the pooler has invented. */
  readonly pid: number | undefined;
  /** The ID of the task that sent the statement. Undefined for a statement that belongs to no task. */
  readonly taskId: string | undefined;
  /** The text as it was sent, with `$1` for its first value. */
  readonly sql: string;
  /** The bound values: text, the bytes of a binary value, or null. */
  readonly values: readonly (string | Buffer | null)[];
  /** The time from the write, or from the answer to the statement before it in a pipeline, to the answer. */
  readonly millis: number;
  /** The command tag of each answer, such as `INSERT 0 5`. A batch of a portal has the tag `1000 rows so far`. */
  readonly tags: readonly string[];
  /**
   * The SQLSTATE of the error. `lost` if the connection ended before the answer. `skipped` if the server has skipped the
   * statement after an earlier error of its pipeline.
   */
  readonly failure: string | undefined;
}

/** Takes what `--debug` shows of one connection. */
export interface Trace {
  /** Called once for each statement, in the order of the answers. */
  readonly statement: (statement: TracedStatement) => void;
  /** Called when a session was opened. */
  readonly opened: (session: {
    readonly pid: number | undefined;
    readonly millis: number | undefined;
  }) => void;
  /** Returns the ID of the task whose code runs now. */
  readonly findTaskId: () => string | undefined;
}

/** A client that is traced. */
export interface TracedClient {
  readonly processID?: number | null;
  readonly connection: { readonly stream: Duplex };
  /** The task that uses the client. Present only on a client that is traced. */
  trace?: { taskId: string | undefined };
}

/**
 * Reports all statements of a client from now on, as they pass on the wire: those of the program, of the driver and of the
 * user. The client must be idle. Replaces the methods `write` and `push` of the socket, which see all bytes in order.
 */
export function traceClient(client: TracedClient, trace: Trace): void {
  const { stream } = client.connection;
  const use: { taskId: string | undefined } = { taskId: undefined };
  client.trace = use;
  const session = new TracedSession({
    pid: client.processID ?? undefined,
    findTaskId: () => use.taskId ?? trace.findTaskId(),
    report: trace.statement,
  });
  stream.once('close', () => session.ended());
  const write = stream.write.bind(stream) as (chunk: unknown, ...rest: unknown[]) => boolean;
  const push = stream.push.bind(stream);
  stream.write = ((chunk: unknown, ...rest: unknown[]) => {
    if (Buffer.isBuffer(chunk)) session.sent(chunk);
    return write(chunk, ...rest);
  }) as Duplex['write'];
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (Buffer.isBuffer(chunk)) session.received(chunk);
    return push(chunk, encoding);
  };
}

/** A statement that has no answer yet, or the end of a pipeline. */
interface Open {
  readonly kind: 'simple' | 'extended' | 'sync';
  readonly sql: string;
  readonly values: TracedStatement['values'];
  readonly taskId: string | undefined;
  readonly tags: string[];
  startedAt: number;
}

interface SessionOptions {
  readonly pid: number | undefined;
  /** Returns the ID of the task that sends a statement now. */
  readonly findTaskId: () => string | undefined;
  readonly report: (statement: TracedStatement) => void;
}

/** Follows the protocol of one session. https://www.postgresql.org/docs/current/protocol-flow.html */
class TracedSession {
  readonly #options: SessionOptions;
  /** The statements that were sent, in the order of their answers. */
  readonly #open: Open[] = [];
  /** The texts of prepared statements by name. */
  readonly #prepared = new Map<string, string>();
  /** The statement and the values of each portal by name. */
  readonly #portals = new Map<string, Pick<Open, 'sql' | 'values'>>();
  /** The SQLSTATE of the error of the pipeline that is being answered. */
  #failure: string | undefined;
  /** The number of rows since the last answer. */
  #rows = 0;
  readonly #frontend = new MessageReader('QPBES', (type, body) => this.#onSent(type, body));
  readonly #backend = new MessageReader(
    'CEZIs',
    (type, body) => this.#onReceived(type, body),
    (type) => {
      if (type === 'D') this.#rows++;
    },
  );

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  sent(bytes: Buffer): void {
    this.#frontend.read(bytes);
  }

  received(bytes: Buffer): void {
    this.#backend.read(bytes);
  }

  /** Reports the statements that have no answer, because the connection has ended. */
  ended(): void {
    for (let first = this.#open[0]; first !== undefined; first = this.#open[0]) {
      if (first.kind === 'sync') this.#open.shift();
      else this.#close(this.#failure ?? 'lost');
    }
  }

  #onSent(type: string, body: Buffer): void {
    const [first = '', second = ''] =
      type === 'E' || type === 'S' ? [] : body.toString('utf8').split('\0', 2);
    if (type === 'Q') this.#push('simple', { sql: first, values: [] });
    else if (type === 'P') this.#prepared.set(first, second);
    else if (type === 'B')
      this.#portals.set(first, { sql: this.#prepared.get(second) ?? '', values: readValues(body) });
    else if (type === 'E') {
      const portal = this.#portals.get(body.toString('utf8', 0, body.indexOf(0)));
      this.#push('extended', portal ?? { sql: '', values: [] });
    } else this.#push('sync', { sql: '', values: [] });
  }

  #push(kind: Open['kind'], { sql, values }: Pick<Open, 'sql' | 'values'>): void {
    const taskId = this.#options.findTaskId();
    this.#open.push({ kind, sql, values, taskId, tags: [], startedAt: performance.now() });
  }

  /** Takes a message of the server: CommandComplete, EmptyQuery, PortalSuspended, Error or ReadyForQuery. */
  #onReceived(type: string, body: Buffer): void {
    const [first] = this.#open;
    switch (type) {
      case 'C':
        first?.tags.push(body.toString('utf8', 0, body.length - 1));
        break;
      case 's':
        first?.tags.push(`${this.#rows} rows, and more follow`);
        break;
      case 'E':
        this.#failure ??= readState(body);
        // The server answers nothing more before ReadyForQuery.
        if (first?.kind === 'extended') this.#close(this.#failure);
        return;
      case 'Z':
        return this.#endPipeline();
      default:
        break;
    }
    this.#rows = 0;
    if (first?.kind === 'extended') this.#close(undefined);
  }

  /** Closes all statements up to the one that ReadyForQuery belongs to. */
  #endPipeline(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    for (let first = this.#open[0]; first !== undefined; first = this.#open[0]) {
      if (first.kind === 'extended') this.#close('skipped');
      else if (first.kind === 'simple') return this.#close(failure);
      else {
        this.#open.shift();
        return;
      }
    }
  }

  /** Reports the first open statement. The statement after it in the pipeline begins now. */
  #close(failure: string | undefined): void {
    const closed = this.#open.shift();
    if (closed === undefined) return;
    const now = performance.now();
    const { sql, values, taskId, tags, startedAt } = closed;
    const [next] = this.#open;
    if (next !== undefined) next.startedAt = Math.max(next.startedAt, now);
    const { pid, report } = this.#options;
    report({ pid, taskId, sql, values, millis: now - startedAt, tags, failure });
  }
}

/** Reads the values of a Bind message. */
function readValues(body: Buffer): TracedStatement['values'] {
  let at = body.indexOf(0) + 1;
  at = body.indexOf(0, at) + 1;
  const formats: number[] = [];
  for (let left = body.readInt16BE(at); left > 0; left--) formats.push(body.readInt16BE((at += 2)));
  at += 2;
  const values: (string | Buffer | null)[] = [];
  const count = body.readUInt16BE(at);
  at += 2;
  for (let index = 0; index < count; index++) {
    const length = body.readInt32BE(at);
    at += 4;
    const isBinary = (formats.length > 1 ? formats[index] : formats[0]) === 1;
    const bytes = body.subarray(at, at + Math.max(0, length));
    values.push(length < 0 ? null : isBinary ? Buffer.from(bytes) : bytes.toString('utf8'));
    at += bytes.length;
  }
  return values;
}

/** Reads the SQLSTATE of an ErrorResponse, whose fields are a letter and a text each. */
function readState(body: Buffer): string {
  const field = body
    .toString('latin1')
    .split('\0')
    .find((each) => each.startsWith('C'));
  return field?.slice(1) ?? 'error';
}

const HEADER_BYTES = 5;

/** Splits the bytes of one direction into messages. Collects the content of the messages of some types only. */
class MessageReader {
  readonly #wanted: string;
  readonly #onMessage: (type: string, body: Buffer) => void;
  readonly #onOther: ((type: string) => void) | undefined;
  #header = Buffer.alloc(0);
  #type = '';
  /** The parts of the content that has arrived. */
  #parts: Buffer[] = [];
  /** The number of bytes of the content that are still missing. Undefined between two messages. */
  #left: number | undefined;

  /** `wanted` has the types whose content `onMessage` takes. `onOther` is called for each message of another type. */
  constructor(
    wanted: string,
    onMessage: (type: string, body: Buffer) => void,
    onOther?: (type: string) => void,
  ) {
    this.#wanted = wanted;
    this.#onMessage = onMessage;
    this.#onOther = onOther;
  }

  read(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length || this.#left === 0) {
      if (this.#left === undefined) at = this.#readHeader(bytes, at);
      else at = this.#readContent(bytes, at, this.#left);
    }
  }

  #readHeader(bytes: Buffer, at: number): number {
    const part = bytes.subarray(at, at + HEADER_BYTES - this.#header.length);
    this.#header = Buffer.concat([this.#header, part]);
    if (this.#header.length === HEADER_BYTES) {
      this.#type = String.fromCharCode(this.#header[0] ?? 0);
      // The length counts itself, but not the type.
      this.#left = this.#header.readInt32BE(1) - 4;
      this.#header = Buffer.alloc(0);
    }
    return at + part.length;
  }

  #readContent(bytes: Buffer, at: number, left: number): number {
    const part = bytes.subarray(at, at + left);
    const isWanted = this.#wanted.includes(this.#type);
    if (isWanted) this.#parts.push(Buffer.from(part));
    this.#left = left - part.length;
    if (this.#left > 0) return at + part.length;
    this.#left = undefined;
    if (isWanted) this.#onMessage(this.#type, Buffer.concat(this.#parts.splice(0)));
    else this.#onOther?.(this.#type);
    return at + part.length;
  }
}
