/**
 * The maximum length of a message, in bytes. PostgreSQL has the same limit.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
const LONGEST_MESSAGE = 0x3fff_ffff;

/** Each message has a 32-bit length, after the type. */
const LENGTH_BYTES = 4;

/** Splits the bytes of a client into whole messages. The chunks can have any length. */
export class MessageReader {
  #chunks: Buffer[] = [];
  #available = 0;
  /** The bytes of the type before the length: 0 in the first message, 1 in all others. */
  #typeLength = 0;
  /**
   * How many bytes the next call of `next` needs: the bytes of the header while the length of the message is unknown,
   * and then the bytes of the whole message.
   */
  #needed = LENGTH_BYTES;

  /** Adds the next bytes of the client. */
  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#available += chunk.length;
  }

  /**
   * Returns the next message, or undefined if the message is not complete yet. Throws if the message has an impossible
   * length.
   */
  next(): Buffer | undefined {
    // The chunks are joined at most twice a message (when the header is there, and when the message is there), so a
    // long message is not copied again and again.
    if (this.#available < this.#needed) return undefined;
    const bytes = join(this.#chunks);
    const header = this.#typeLength + LENGTH_BYTES;
    // The length field counts itself and the body, but not the type.
    const length = this.#typeLength + bytes.readUInt32BE(this.#typeLength);
    if (length < header || length > LONGEST_MESSAGE) throw new Error(`a message can't have ${length} bytes`);
    const isComplete = bytes.length >= length;
    const rest = isComplete ? bytes.subarray(length) : bytes;
    this.#chunks = [rest];
    this.#available = rest.length;
    this.#needed = isComplete ? 1 + LENGTH_BYTES : length;
    if (!isComplete) return undefined;
    this.#typeLength = 1;
    return bytes.subarray(0, length);
  }
}

/** Returns the type of a message: its first byte as a character. It is `\\0` for the first message of a client. */
export function getType(message: Buffer): string {
  return String.fromCharCode(message[0] ?? 0);
}

/** Encodes a message: the type, the length, and the parts. A text is encoded in UTF-8, without a final NUL. */
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

/**
 * Returns an answer with each of its messages replaced by the result of `replace`. The answer must have whole messages
 * only.
 */
export function mapMessages(answer: Buffer, replace: (message: Buffer) => Buffer): Buffer {
  const messages: Buffer[] = [];
  let at = 0;
  while (at < answer.length) {
    // The length follows the type byte, and counts all bytes after the type byte.
    const end = at + 1 + answer.readUInt32BE(at + 1);
    messages.push(replace(answer.subarray(at, end)));
    at = end;
  }
  return Buffer.concat(messages);
}

/**
 * Returns whether a simple query has a COPY that reads from the client. Ignores comments and quoted text.
 *
 * - true: `COPY t FROM STDIN`, and `begin; copy t (a) from stdin csv`
 * - false: `copy t to stdout`, and `select 'copy t from stdin'`
 */
export function isCopyFromStdin(message: Buffer): boolean {
  const sql = message.toString('utf8', 1 + LENGTH_BYTES, message.length - 1); // Without the final NUL.
  if (!/stdin/i.test(sql)) return false; // Saves the slow search for nearly all queries.
  // A comment separates words like a space. A quoted text is a word.
  const bare = sql.replaceAll(COMMENT_OR_QUOTED, (text) => (/^(?:--|\/\*)/.test(text) ? ' ' : 'x'));
  return /(?:^|;)\s*copy\b[^;]*\bfrom\s+stdin\b/i.test(bare);
}

/**
 * Matches in this order: a line comment, a block comment, a text with backslash escapes (`e'…'`), a text, a quoted
 * name, and a dollar-quoted text (`$tag$…$tag$`). `[^]` is any character, also a line break.
 */
const COMMENT_OR_QUOTED =
  /--[^\n]*|\/\*[^]*?\*\/|\be'(?:[^'\\]+|\\[^])*'|'[^']*'|"[^"]*"|\$((?:[a-z_]\w*)?)\$[^]*?\$\1\$/gi;
