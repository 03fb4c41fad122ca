import type { PreparedStatements } from './prepared-statements.js';
import type { PipelineStatement } from './protocol.js';

/**
 * Encodes the messages of a pipeline as one buffer, because each write costs more than encoding the messages. Each
 * statement becomes Bind and Execute. A Parse precedes them if `prepared` does not have the statement yet. With
 * `isWhole`, no other query follows, and the pipeline ends with Sync.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export function encodePipeline(
  statements: readonly PipelineStatement[],
  isWhole: boolean,
  prepared: PreparedStatements | undefined,
): Buffer {
  const out = new MessageBuffer(statements.reduce((sum, statement) => sum + computeSizeLimit(statement), 5));
  for (const statement of statements) encodeStatement(out, statement, prepared);
  if (isWhole) out.end(out.begin(SYNC));
  return out.written;
}

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
  out.writeText('');
  out.writeText(name);
  out.writeInt16(0); // All values are text.
  out.writeValues(getValues(statement));
  out.writeInt16(0); // All results are text.
  out.end(bind);
  const execute = out.begin(EXECUTE);
  out.writeText('');
  out.writeInt32(0); // No limit of rows.
  out.end(execute);
  if (statement.flush) out.end(out.begin(FLUSH));
}

/** The unnamed statement, which is parsed each time. */
const UNNAMED = { name: '', isNew: true };

// The types of the messages.
const PARSE = 0x50;
const BIND = 0x42;
const EXECUTE = 0x45;
const FLUSH = 0x48;
const SYNC = 0x53;

/** Returns an upper limit for the encoded size of a statement, in bytes. */
function computeSizeLimit(statement: PipelineStatement): number {
  return getValues(statement).reduce(
    (sum, value) => sum + 4 + 3 * (value?.length ?? 0),
    100 + 3 * statement.text.length,
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

  /** Begins a message. Returns the position of its length, which `end` writes. */
  begin(type: number): number {
    this.#bytes[this.#end] = type;
    this.#end += 5;
    return this.#end - 4;
  }

  /** Ends the message whose length is at `start`. */
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

  writeValues(values: readonly (string | null)[]): void {
    this.writeInt16(values.length);
    for (const value of values) {
      const start = this.#end;
      this.#end += 4;
      if (value !== null) this.#end += this.#bytes.write(value, this.#end);
      this.#bytes.writeInt32BE(value === null ? -1 : this.#end - start - 4, start);
    }
  }
}
