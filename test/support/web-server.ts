import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request that a `WebServer` has got. */
export interface WebRequest {
  readonly method: string;
  /** The path with the query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A web server on this machine that keeps its requests. */
export interface WebServer extends AsyncDisposable {
  url: string;
  /** The requests in the order of their arrival. */
  readonly requests: WebRequest[];
  /** The statuses of the next answers. When the list is empty, the status is 200. */
  readonly statuses: number[];
  /** Sends no answer from now on. */
  holdAnswers(): void;
}

/** Starts a web server. */
export async function startWebServer(): Promise<WebServer> {
  const requests: WebRequest[] = [];
  const statuses: number[] = [];
  let isHeld = false;
  const server = createServer((request, answer) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
      if (!isHeld) answer.writeHead(statuses.shift() ?? 200).end('OK');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    statuses,
    holdAnswers: () => void (isHeld = true),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      // A test may have closed the server already, and `close` then calls back with an error.
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
