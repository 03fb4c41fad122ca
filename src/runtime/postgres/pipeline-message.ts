import type { KeptStatements } from './prepared-statements.js';
import type { Leg } from './protocol.js';

/**
 * The messages of a flight in one piece, because each write costs more than all that is in it: Bind and Execute for each
 * leg, with a Parse before them where `kept` does not have its statement yet. `isWhole`: nothing comes behind them, and
 * the flight ends with a Sync.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export function encodeFlight(
  legs: readonly Leg[],
  isWhole: boolean,
  kept: KeptStatements | undefined,
): Buffer {
  const out = new MessageBuffer(legs.reduce((sum, leg) => sum + sizeLimit(leg), 5));
  for (const leg of legs) encodeLeg(out, leg, kept);
  if (isWhole) out.end(out.begin(SYNC));
  return out.written;
}

function encodeLeg(out: MessageBuffer, leg: Leg, kept: KeptStatements | undefined): void {
  const { name, isNew } = (leg.keep && kept?.nameOf(leg.text)) ?? UNNAMED;
  if (isNew) {
    const parse = out.begin(PARSE);
    out.text(name);
    out.text(leg.text);
    out.int16(0); // The server finds the types.
    out.end(parse);
  }
  const bind = out.begin(BIND);
  out.text('');
  out.text(name);
  out.int16(0); // All values come as text,
  out.values(valuesOf(leg));
  out.int16(0); // and so do the answers.
  out.end(bind);
  const execute = out.begin(EXECUTE);
  out.text('');
  out.int32(0); // All rows.
  out.end(execute);
  if (leg.flush) out.end(out.begin(FLUSH));
}

const UNNAMED = { name: '', isNew: true };

const PARSE = 0x50;
const BIND = 0x42;
const EXECUTE = 0x45;
const FLUSH = 0x48;
const SYNC = 0x53;

/** No fewer bytes than a leg takes. */
function sizeLimit(leg: Leg): number {
  return valuesOf(leg).reduce((sum, value) => sum + 4 + 3 * (value?.length ?? 0), 100 + 3 * leg.text.length);
}

function valuesOf({ values = [] }: Leg): readonly (string | null)[] {
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

  int16(value: number): void {
    this.#end = this.#bytes.writeInt16BE(value, this.#end);
  }

  int32(value: number): void {
    this.#end = this.#bytes.writeInt32BE(value, this.#end);
  }

  text(value: string): void {
    this.#end += this.#bytes.write(value, this.#end);
    this.#bytes[this.#end++] = 0;
  }

  values(values: readonly (string | null)[]): void {
    this.int16(values.length);
    for (const value of values) {
      const start = this.#end;
      this.#end += 4;
      if (value !== null) this.#end += this.#bytes.write(value, this.#end);
      this.#bytes.writeInt32BE(value === null ? -1 : this.#end - start - 4, start);
    }
  }
}
