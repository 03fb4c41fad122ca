import type { Connection, Submittable } from 'pg';
import type { ServerMessage } from '../postgres/protocol.js';
import { cutText, secrets } from '../secrets/secrets.js';

/**
 * One statement on a connection, with the methods that pg calls. The base class of statements whose rows bypass pg's
 * parser. Ignores answers that a subclass does not expect, so that the connection stays usable after a wrong SQL text.
 */
export abstract class Exchange implements Submittable {
  /** The SQL text, or a description of the statement, for error messages. */
  readonly text: string;
  /** Resolves when the statement is done. Rejects with the error of the server or of a lost connection. */
  readonly over: Promise<void>;
  /** The last command tag, such as `COPY 5`. */
  protected tag: string | undefined;
  #deferred: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  #isOver = false;

  constructor(text: string) {
    this.text = text;
    this.over = new Promise((resolve, reject) => (this.#deferred = { resolve, reject }));
    // Prevents an unhandled rejection: possibly nobody awaits `over` when it rejects.
    this.over.catch(() => undefined);
  }

  /** True when the statement is done or has failed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Sends the statement. */
  abstract submit(connection: Connection): void;

  /** The number of rows in the server's command tag. 0 before the tag has arrived. */
  get rows(): number {
    return Number(this.tag?.split(' ').at(-1) ?? 0);
  }

  /** Called when the server reports an error or the connection is lost. Ends the statement. */
  handleError(error: Error): void {
    this.#isOver = true;
    this.#deferred?.reject(error);
    this.onOver();
  }

  /**
   * Called when the server is ready for the next statement. Ends the statement. After `handleError` this changes
   * nothing of the result.
   */
  handleReadyForQuery(): void {
    this.#isOver = true;
    this.#deferred?.resolve();
    this.onOver();
  }

  handleCommandComplete({ text }: ServerMessage): void {
    this.tag = text;
  }

  /** Fails a `COPY … FROM STDIN` that is not expected here: the COPY would wait for data for ever. */
  handleCopyInResponse(connection: Connection): void {
    connection.stream.write(createCopyFail('this call sends no data'));
  }

  handleCopyData(): void {}
  handleRowDescription(_message: unknown): void {}
  handleDataRow(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}

  /** Called when the statement is done or has failed. Subclasses resume their callers here. */
  protected onOver(): void {}
}

/**
 * Returns a CopyFail message, with which the client fails its COPY: the byte `f`, the length, and the reason with a NUL
 * at its end. Removes NUL characters from the reason, because they would end the text, and cuts it to 1,000 characters.
 */
export function createCopyFail(reason: string): Buffer {
  const text = Buffer.from(`${cutText(secrets.mask(reason.replaceAll('\0', '')), 1000)}\0`);
  const message = Buffer.alloc(5 + text.length, text, 'utf8');
  message[0] = 0x66;
  message.writeInt32BE(4 + text.length, 1);
  text.copy(message, 5);
  return message;
}
