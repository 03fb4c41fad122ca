import type { Connection } from 'pg';
import { giveBack } from '../../hooks/chunks.js';
import { Exchange } from './exchange.js';
import { readInPlace } from './frames.js';
import type { Field } from './row-decoder.js';

/** A query with the values for its `$1`, `$2`, … */
export interface BoundQuery {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** How pg writes a value for the server. */
export type ValueMapper = (value: unknown) => unknown;

/** What opens a portal. */
export interface PortalOptions {
  readonly query: BoundQuery;
  readonly valueMapper: ValueMapper;
}

/**
 * Some rows of a portal, a cursor of the protocol: it lives in the transaction, and other statements can run between
 * two fetches. https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
 */
export class Fetch extends Exchange {
  readonly #portal: string;
  /** The most rows that it brings; when there are more, it brings as many. */
  readonly limit: number;
  readonly #opening: PortalOptions | undefined;
  readonly #parts: Buffer[] = [];
  /** With the first rows. */
  fields: readonly Field[] | undefined;
  /** There are more rows. */
  isSuspended = false;

  constructor(portal: string, limit: number, opening?: PortalOptions) {
    super(opening?.query.text ?? 'the next rows of a query');
    this.#portal = portal;
    this.limit = limit;
    this.#opening = opening;
  }

  override submit(connection: Connection): void {
    const messages = connection as unknown as ExtendedProtocol;
    const portal = this.#portal;
    connection.stream.cork();
    if (this.#opening) {
      const { query, valueMapper } = this.#opening;
      messages.parse({ text: query.text });
      messages.bind({ portal, values: query.values, valueMapper });
      messages.describe({ type: 'P', name: portal });
    }
    messages.execute({ portal, rows: this.limit });
    messages.sync();
    connection.stream.uncork();
    readInPlace(connection, { type: 'D', data: (bytes) => this.#parts.push(bytes) });
  }

  override handleRowDescription({ fields }: { readonly fields: readonly Field[] }): void {
    this.fields = fields;
  }

  override handlePortalSuspended(): void {
    this.isSuspended = true;
  }

  /** A COPY drops the Sync that came with it. */
  override handleCopyInResponse(connection: Connection): void {
    super.handleCopyInResponse(connection);
    (connection as unknown as ExtendedProtocol).sync();
  }

  /** What the DataRow messages carried: once. */
  takeBytes(): Buffer {
    const bytes = Buffer.concat(this.#parts);
    for (const part of this.#parts.splice(0)) giveBack(part);
    return bytes;
  }
}

/** Ends a portal before its last row. */
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

/** pg's methods as they are; the published types ask for more. */
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
