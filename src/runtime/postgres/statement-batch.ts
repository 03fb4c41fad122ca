import type { Statement } from '../sql/split.js';
import type { Callback, DriverQuery, ProtocolClient, ProtocolConnection, ServerMessage } from './protocol.js';

/**
 * Creates a query of the driver for a text with several statements. All statements are sent at once, each in messages
 * of its own: the server then accepts exactly one statement for each, so no statement can hide behind another. A simple
 * query would run whatever follows a ROLLBACK, and commit it. The result is the same as that of a simple query: an array
 * of results, or one result if there is one statement.
 *
 * `config` and `callback` are the arguments of `pg.Client.query`. The position of an error is a position in `text`.
 */
export function createBatchQuery(
  client: ProtocolClient,
  config: object,
  { text, statements }: { readonly text: string; readonly statements: readonly Statement[] },
  callback: Callback,
): DriverQuery {
  const { Query } = client.constructor;
  const query = new Query({ types: client, ...config, text, queryMode: 'extended' }, [], callback);
  const onCommandComplete = query.handleCommandComplete.bind(query);
  const onError = query.handleError.bind(query);
  /** The number of statements that the server has answered. */
  let answered = 0;
  return Object.assign(query, {
    submit: (connection: ProtocolConnection) => {
      const messages = connection as unknown as ExtendedMessages;
      connection.stream.cork();
      for (const statement of statements) {
        messages.parse({ text: statement.text });
        messages.bind({});
        messages.describe({ type: 'P', name: '' });
        messages.execute({});
      }
      messages.sync();
      connection.stream.uncork();
      return null;
    },
    handleCommandComplete: (message: ServerMessage, connection: ProtocolConnection) => {
      answered++;
      onCommandComplete(message, connection);
    },
    handleError: (error: Error & { position?: string }, connection: ProtocolConnection) => {
      const { start } = statements[answered] ?? { start: 0 };
      // The server counts characters, not UTF-16 units.
      if (error.position !== undefined)
        error.position = String(Number(error.position) + Array.from(text.slice(0, start)).length);
      onError(error, connection);
    },
    handleCopyInResponse: (connection: ProtocolConnection) => {
      // The text is this COPY alone. During a COPY the server ignores a Sync, so the first Sync is lost.
      const messages = connection as unknown as ExtendedMessages;
      messages.sendCopyFail('the query has no rows for the COPY');
      messages.sync();
    },
  });
}

/** Methods of pg's `Connection`. The published types of pg declare more required arguments. */
interface ExtendedMessages {
  parse(query: { readonly text: string }): void;
  bind(config: object): void;
  describe(message: { readonly type: 'P'; readonly name: string }): void;
  execute(config: object): void;
  sync(): void;
  sendCopyFail(reason: string): void;
}
