import type { Connection } from 'pg';
import { giveBack } from '../../hooks/chunks.js';
import { Exchange } from './exchange.js';
import { readFrames } from './frames.js';
import type { Field } from './row-decoder.js';

/** A query, with the values for its `$1`, `$2`, … in order. */
export interface BoundQuery {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** Converts a value to the form in which pg sends it. */
export type ValueMapper = (value: unknown) => unknown;

/** The query of a new portal. */
export interface PortalOptions {
  readonly query: BoundQuery;
  readonly valueMapper: ValueMapper;
}

/**
 * Fetches some rows of a portal, which is the protocol's cursor. The first fetch opens the portal. The portal exists
 * until the transaction ends, and other statements can run between two fetches.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
 */
export class Fetch extends Exchange {
  readonly #portal: string;
  /** The maximum number of rows. The fetch returns exactly this many rows if the query has more. */
  readonly limit: number;
  readonly #options: PortalOptions | undefined;
  readonly #parts: Buffer[] = [];
  /** The columns of the result. Set only by the first fetch of a portal. */
  fields: readonly Field[] | undefined;
  /** True if the query may have more rows. */
  isSuspended = false;

  /** `options` are for the first fetch of a portal only. */
  constructor(portal: string, limit: number, options?: PortalOptions) {
    super(options?.query.text ?? 'the next rows of a query');
    this.#portal = portal;
    this.limit = limit;
    this.#options = options;
  }

  /** Sends the fetch in one write. The first fetch of a portal also prepares the query and opens the portal. */
  override submit(connection: Connection): void {
    const messages = connection as unknown as ExtendedProtocol;
    const portal = this.#portal;
    connection.stream.cork();
    if (this.#options) {
      const { query, valueMapper } = this.#options;
      messages.parse({ text: query.text });
      messages.bind({ portal, values: query.values, valueMapper });
      messages.describe({ type: 'P', name: portal });
    }
    messages.execute({ portal, rows: this.limit });
    messages.sync();
    connection.stream.uncork();
    readFrames(connection, { type: 'D', data: (bytes) => this.#parts.push(bytes) });
  }

  override handleRowDescription({ fields }: { readonly fields: readonly Field[] }): void {
    this.fields = fields;
  }

  /** Called if the fetch has returned `limit` rows and the query is not at its end. */
  override handlePortalSuspended(): void {
    this.isSuspended = true;
  }

  /** Fails the COPY, and sends Sync again: the server ignores a Sync during a COPY. */
  override handleCopyInResponse(connection: Connection): void {
    super.handleCopyInResponse(connection);
    (connection as unknown as ExtendedProtocol).sync();
  }

  /** Returns the content of the DataRow messages. Can be called only once. */
  takeBytes(): Buffer {
    const bytes = Buffer.concat(this.#parts);
    for (const part of this.#parts.splice(0)) giveBack(part);
    return bytes;
  }
}

/** Closes a portal before its last row. */
export class ClosePortal extends Exchange {
  readonly #portal: string;

  constructor(portal: string) {
    super('the end of a query');
    this.#portal = portal;
  }

  override submit(connection: Connection): void {
    const messages = connection as unknown as ExtendedProtocol;
    messages.close({ type: 'P', name: this.#portal });
    messages.sync();
  }
}

/** Methods of pg's `Connection`. The published types of pg declare more required arguments. */
interface ExtendedProtocol {
  parse(query: { readonly text: string }): void;
  bind(config: {
    readonly portal: string;
    readonly values: readonly unknown[];
    readonly valueMapper: ValueMapper;
  }): void;
  describe(message: { readonly type: 'P'; readonly name: string }): void;
  execute(config: { readonly portal: string; readonly rows: number }): void;
  close(message: { readonly type: 'P'; readonly name: string }): void;
  sync(): void;
}
