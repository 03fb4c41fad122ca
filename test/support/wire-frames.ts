/** The first message of a client. */
export interface Startup {
  readonly kind: 'session' | 'encryption' | 'cancel';
  readonly parameters: Readonly<Record<string, string>>;
  /** The process ID in a cancel request. 0 in other messages. */
  readonly key: number;
}

/** Cuts a stream of PostgreSQL's protocol into messages. */
export class Frames {
  #rest: Buffer = Buffer.alloc(0);
  #isStartup: boolean;

  /** `hasStartup`: the first message is a startup message, which has no type byte. */
  constructor({ hasStartup = false } = {}) {
    this.#isStartup = hasStartup;
  }

  /** The next message is another startup message, which has no type byte. */
  expectStartup(): void {
    this.#isStartup = true;
  }

  /** Adds bytes, and yields the messages that are complete, with their type and length. */
  *add(chunk: Buffer): Generator<Buffer> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const head = this.#isStartup ? 0 : 1;
      if (this.#rest.length < head + 4) return;
      const length = head + this.#rest.readInt32BE(head);
      if (this.#rest.length < length) return;
      const frame = this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(length);
      this.#isStartup = false;
      yield frame;
    }
  }
}

/** Reads a startup message, which has no type byte. Source: https://www.postgresql.org/docs/current/protocol-message-formats.html */
export function readStartup(message: Buffer): Startup {
  const code = message.readInt32BE(4);
  if (code === 80_877_103 || code === 80_877_104) return { kind: 'encryption', parameters: {}, key: 0 };
  if (code === 80_877_102) return { kind: 'cancel', parameters: {}, key: message.readInt32BE(8) };
  const words = message.toString('utf8', 8).split('\0');
  const parameters: Record<string, string> = {};
  for (let i = 0; words[i]; i += 2) parameters[words[i] ?? ''] = words[i + 1] ?? '';
  return { kind: 'session', parameters, key: 0 };
}

/** Encodes a message of this type. */
export function encode(type: string, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([Buffer.from(type), encodeInt32(bytes.length + 4), bytes]);
}

/** Encodes a number as a 32-bit integer in network byte order. */
export function encodeInt32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
