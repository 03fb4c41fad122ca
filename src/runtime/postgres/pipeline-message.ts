import type { PreparedStatements } from './prepared-statements.js';
import type { PipelineStatement } from './protocol.js';

/**
 * The messages of a flight in one piece, because each write costs more than all that is in it: Bind and Execute for each
 * leg, with a Parse before them where `kept` does not have its statement yet. `isWhole`: nothing comes behind them, and
 * the flight ends with a Sync.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export function encodePipeline(
  statements: readonly PipelineStatement[],
  isWhole: boolean,
  kept: PreparedStatements | undefined,
): Buffer {
  const out = new MessageBuffer(statements.reduce((sum, statement) => sum + computeSizeLimit(statement), 5));
  for (const statement of statements) encodeStatement(out, statement, kept);
  if (isWhole) out.end(out.begin(SYNC));
  return out.written;
}

function encodeStatement(
  out: MessageBuffer,
  statement: PipelineStatement,
  kept: PreparedStatements | undefined,
): void {
  const { name, isNew } = (statement.keep && kept?.getName(statement.text)) ?? UNNAMED;
  if (isNew) {
    const parse = out.begin(PARSE);
    out.writeText(name);
    out.writeText(statement.text);
    out.writeInt16(0); // The server finds the types.
    out.end(parse);
  }
  const bind = out.begin(BIND);
  out.writeText('');
  out.writeText(name);
  out.writeInt16(0); // All values come as text,
  out.writeValues(getValues(statement));
  out.writeInt16(0); // and so do the answers.
  out.end(bind);
  const execute = out.begin(EXECUTE);
  out.writeText('');
  out.writeInt32(0); // All rows.
  out.end(execute);
  if (statement.flush) out.end(out.begin(FLUSH));
}

const UNNAMED = { name: '', isNew: true };

const PARSE = 0x50;
const BIND = 0x42;
const EXECUTE = 0x45;
const FLUSH = 0x48;
const SYNC = 0x53;

/** No fewer bytes than a leg takes. */
function computeSizeLimit(statement: PipelineStatement): number {
  return getValues(statement).reduce(
    (sum, value) => sum + 4 + 3 * (value?.length ?? 0),
    100 + 3 * statement.text.length,
  );
}

function getValues({ values = [] }: PipelineStatement): readonly (string | null)[] {
  return typeof values === 'function' ? values() : values;
}

/** Messages of the protocol, one behind the other. */
class MessageBuffer {
  readonly #bytes: Buffer;
  #end = 0;

  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafe(size);
  }

  get written(): Buffer {
    return this.#bytes.subarray(0, this.#end);
  }

  /** Begins a message, and says where; `end` writes its length there. */
  begin(type: number): number {
    this.#bytes[this.#end] = type;
    this.#end += 5;
    return this.#end - 4;
  }

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
