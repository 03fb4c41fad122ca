/**
 * The maximum length of a message, in bytes. PostgreSQL has the same limit.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
const LONGEST_MESSAGE = 0x3fff_ffff;

/** Splits the bytes of a client into whole messages. The chunks can have any length. Copies no byte more than once. */
export class MessageReader {
  #chunks: Buffer[] = [];
  #available = 0;
  /** The first message has no type byte. */
  #typeLength = 0;

  /** Adds the next bytes of the client. */
  add(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#available += chunk.length;
  }

  /**
   * Returns the next message, or undefined if it is not complete yet. Throws if the message has an impossible length.
   */
  next(): Buffer | undefined {
    const header = this.#typeLength + 4;
    if (this.#available < header) return undefined;
    const length = this.#typeLength + this.#readHead(header).readUInt32BE(this.#typeLength);
    if (length < header || length > LONGEST_MESSAGE) throw new Error(`a message can't have ${length} bytes`);
    if (this.#available < length) return undefined;
    this.#typeLength = 1;
    return this.#take(length);
  }

  /** Returns a buffer with at least the first `length` bytes, and does not remove these bytes. */
  #readHead(length: number): Buffer {
    const [first = EMPTY] = this.#chunks;
    if (first.length >= length) return first;
    const head = this.#take(length);
    this.#chunks.unshift(head);
    this.#available += length;
    return head;
  }

  #take(length: number): Buffer {
    const pieces: Buffer[] = [];
    let missing = length;
    let used = 0;
    while (missing > 0) {
      const chunk = this.#chunks[used] ?? EMPTY;
      const piece = chunk.subarray(0, missing);
      pieces.push(piece);
      missing -= piece.length;
      if (piece.length === chunk.length) used += 1;
      else this.#chunks[used] = chunk.subarray(piece.length);
    }
    this.#chunks.splice(0, used);
    this.#available -= length;
    return join(pieces);
  }
}

const EMPTY = Buffer.alloc(0);

/** Returns the type of a message: its first byte as a character. The first message of a client has no type. */
export function getType(message: Buffer): string {
  return String.fromCharCode(message[0] ?? 0);
}

/** Encodes a message: the type, the length, and the parts. */
export function encode(type: string, ...parts: readonly (string | Buffer)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
  const header = Buffer.from([type.charCodeAt(0), 0, 0, 0, 0]);
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

/** Joins buffers. A single buffer is not copied. */
export function join(buffers: readonly Buffer[]): Buffer {
  const [only] = buffers;
  return buffers.length === 1 && only ? only : Buffer.concat(buffers);
}

/** Encodes a simple query. */
export function encodeQuery(sql: string): Buffer {
  return encode('Q', sql, '\0');
}

/** Encodes an ErrorResponse of severity ERROR. */
export function encodeError(sqlstate: string, text: string, hint: string): Buffer {
  return encode('E', `SERROR\0VERROR\0C${sqlstate}\0M${text}\0H${hint}\0\0`);
}

/** Replaces each message of an answer. The answer must have whole messages only. */
export function mapMessages(answer: Buffer, replace: (message: Buffer) => Buffer): Buffer {
  const messages: Buffer[] = [];
  let at = 0;
  while (at < answer.length) {
    const end = at + 1 + answer.readUInt32BE(at + 1);
    messages.push(replace(answer.subarray(at, end)));
    at = end;
  }
  return Buffer.concat(messages);
}

/** Returns whether a message has the word `stdin`. Every COPY that reads from the client has it. */
export function hasStdinKeyword(message: Buffer): boolean {
  return /stdin/i.test(message.toString('latin1'));
}

/** Returns whether a simple query has a COPY that reads from the client. Ignores comments and quoted text. */
export function isCopyFromStdin(message: Buffer): boolean {
  if (!hasStdinKeyword(message)) return false;
  const sql = message.toString('utf8', 5, message.length - 1);
  const bare = sql.replaceAll(COMMENT_OR_QUOTED, (text) => (/^(?:--|\/\*)/.test(text) ? ' ' : 'x'));
  return /(?:^|;)\s*copy\b[^;]*\bfrom\s+stdin\b/i.test(bare);
}

const COMMENT_OR_QUOTED =
  /--[^\n]*|\/\*[^]*?\*\/|\be'(?:[^'\\]+|\\[^])*'|'[^']*'|"[^"]*"|\$((?:[a-z_]\w*)?)\$[^]*?\$\1\$/gi;
