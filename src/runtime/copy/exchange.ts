import type { Connection, Submittable } from 'pg';
import type { ServerMessage } from '../postgres/protocol.js';

/**
 * One statement on a connection, as pg calls it: the base of what moves rows past pg's own parsing. The server's
 * answers that a kind does not expect are ignored, so that a wrong SQL text leaves the connection in order.
 */
export abstract class Exchange implements Submittable {
  /** For the record of errors. */
  readonly text: string;
  /** Resolves when the statement is done, and rejects with the error of the server, or of a lost connection. */
  readonly over: Promise<void>;
  /** The newest command tag: `COPY 5`. */
  protected tag: string | undefined;
  #settle: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  #isOver = false;

  constructor(text: string) {
    this.text = text;
    this.over = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // Whoever awaits it sees the rejection; nobody may be awaiting it when it comes.
    this.over.catch(() => undefined);
  }

  /** True once the server has had its last word. */
  get isOver(): boolean {
    return this.#isOver;
  }

  abstract submit(connection: Connection): void;

  /** Rows by the server's tag; 0 before it came. */
  get rows(): number {
    return Number(this.tag?.split(' ').at(-1) ?? 0);
  }

  handleError(error: Error): void {
    this.#isOver = true;
    this.#settle?.reject(error);
    this.onOver();
  }

  handleReadyForQuery(): void {
    this.#isOver = true;
    this.#settle?.resolve();
    this.onOver();
  }

  handleCommandComplete({ text }: ServerMessage): void {
    this.tag = text;
  }

  /** A text that reads from the client where that is not meant would wait for ever. */
  handleCopyInResponse(connection: Connection): void {
    connection.stream.write(copyFail('no data is sent here'));
  }

  handleCopyData(): void {}
  handleRowDescription(_message: unknown): void {}
  handleDataRow(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}

  /** Wakes who waits. */
  protected onOver(): void {}
}

/** The message with which a client ends its COPY in failure. A NUL would end the text, and break the protocol. */
export function copyFail(reason: string): Buffer {
  const text = Buffer.from(`${reason.replaceAll('\0', '').slice(0, 1000)}\0`);
  const message = Buffer.alloc(5 + text.length, text, 'utf8');
  message[0] = 0x66;
  message.writeInt32BE(4 + text.length, 1);
  text.copy(message, 5);
  return message;
}
