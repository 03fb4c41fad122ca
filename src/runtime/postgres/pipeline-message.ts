import type { PreparedStatements } from './prepared-statements.js';
import type { PipelineStatement } from './protocol.js';

/**
 * Encodes the messages of a pipeline as one buffer, because each write costs more than encoding the messages.
 *
 * - Each statement becomes Bind and Execute.
 * - A Parse precedes these two if the statement is not prepared yet. `prepared` has the statements that are prepared on
 *   the connection; undefined if the connection prepares none.
 * - The pipeline ends with Sync if `isWhole` is true. If it is false, a query of the driver follows and sends the Sync.
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export function encodePipeline(
  statements: readonly PipelineStatement[],
  isWhole: boolean,
  prepared: PreparedStatements | undefined,
): Buffer {
  const size = statements.reduce(
    (sum, statement) => sum + computeSizeLimit(statement, prepared),
    HEADER_SIZE,
  );
  const out = new MessageBuffer(size);
  for (const statement of statements) encodeStatement(out, statement, prepared);
  if (isWhole) out.end(out.begin(SYNC));
  return out.written;
}

/** Writes the messages of one statement: Parse if needed, Bind, Execute, and Flush if the statement asks for it. */
function encodeStatement(
  out: MessageBuffer,
  statement: PipelineStatement,
  prepared: PreparedStatements | undefined,
): void {
  const { name, isNew } = (statement.keep && prepared?.getName(statement.text)) ?? UNNAMED;
  if (isNew) {
    const parse = out.begin(PARSE);
    out.writeText(name);
    out.writeText(statement.text);
    out.writeInt16(0); // No parameter types: the server infers them.
    out.end(parse);
  }
  const bind = out.begin(BIND);
  out.writeText(''); // The unnamed portal.
  out.writeText(name);
  out.writeInt16(0); // All values are text.
  out.writeValues(getValues(statement));
  out.writeInt16(0); // All results are text.
  out.end(bind);
  const execute = out.begin(EXECUTE);
  out.writeText(''); // The unnamed portal, which the Bind has made.
  out.writeInt32(0); // No limit of rows.
  out.end(execute);
  if (statement.flush) out.end(out.begin(FLUSH));
}

/** The unnamed statement, which is parsed each time. */
const UNNAMED = { name: '', isNew: true };

/** The bytes before the content of a message: one byte for its type, four bytes for its length. */
const HEADER_SIZE = 5;

// The types of the messages: the letters P, B, E, H and S.
const PARSE = 0x50;
const BIND = 0x42;
const EXECUTE = 0x45;
const FLUSH = 0x48;
const SYNC = 0x53;

/**
 * Returns an upper limit for the encoded size of a statement, in bytes. A character of JavaScript takes at most three
 * bytes in UTF-8, and each value has a length of four bytes. 100 bytes are more than all other parts together: the
 * headers of four messages, the name of a prepared statement twice, and the counts. The text of a prepared statement is
 * not sent. A small buffer comes from the pool of Node.js.
 */
function computeSizeLimit(statement: PipelineStatement, prepared: PreparedStatements | undefined): number {
  const isPrepared = statement.keep && prepared?.has(statement.text);
  return getValues(statement).reduce(
    (sum, value) => sum + 4 + 3 * (value?.length ?? 0),
    100 + (isPrepared ? 0 : 3 * statement.text.length),
  );
}

function getValues({ values = [] }: PipelineStatement): readonly (string | null)[] {
  return typeof values === 'function' ? values() : values;
}

/** A buffer with messages of the protocol, one after another. */
class MessageBuffer {
  readonly #bytes: Buffer;
  #end = 0;

  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafe(size);
  }

  get written(): Buffer {
    return this.#bytes.subarray(0, this.#end);
  }

  /**
   * Begins a message: writes its type and leaves four bytes free for its length. Returns the position of the length.
   * Pass the position to `end`, which writes the length.
   */
  begin(type: number): number {
    this.#bytes[this.#end] = type;
    this.#end += HEADER_SIZE;
    return this.#end - 4;
  }

  /** Ends the message that begins with its length at `start`. The length counts itself, but not the type. */
  end(start: number): void {
    this.#bytes.writeInt32BE(this.#end - start, start);
  }

  writeInt16(value: number): void {
    this.#end = this.#bytes.writeInt16BE(value, this.#end);
  }

  writeInt32(value: number): void {
    this.#end = this.#bytes.writeInt32BE(value, this.#end);
  }

  writeText(value: string): void {
    this.#end += this.#bytes.write(value, this.#end);
    this.#bytes[this.#end++] = 0;
  }

  /** Writes the count of values, then each value with its length in bytes before it. The length of null is -1. */
  writeValues(values: readonly (string | null)[]): void {
    this.writeInt16(values.length);
    for (const value of values) {
      const start = this.#end;
      this.#end += 4; // The length is written below, when it is known.
      if (value !== null) this.#end += this.#bytes.write(value, this.#end);
      this.#bytes.writeInt32BE(value === null ? -1 : this.#end - start - 4, start);
    }
  }
}
