import { expect } from 'chai';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sendRequest } from '../../../src/runtime/input/http-request.js';
import { holdTimers } from '../../support/held-timers.js';

/** Starts a web server, and returns the request of its URL. */
async function serve(answer: (response: ServerResponse, path: string) => void) {
  const server = createServer((request, response) => answer(response, request.url ?? ''));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/data.csv`);
  return {
    request: { url, name: 'data.csv', acceptEncoding: 'identity', signal: new AbortController().signal },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

describe('a web server that falls silent', () => {
  it('before the header of its answer: the input fails after 60 seconds', async () => {
    using timers = holdTimers(60_000);
    await using server = await serve(() => undefined);
    const answer = sendRequest(server.request).catch((error: unknown) => error);
    (await timers.next())();
    expect(await answer).to.include({ code: 'ETL-3551', why: 'no answer within 60 s' });
  });

  it('after a redirect: the same 60 seconds count', async () => {
    using timers = holdTimers(60_000);
    let redirected = (): void => undefined;
    const isRedirected = new Promise<void>((resolve) => (redirected = resolve));
    await using server = await serve((response, path) => {
      if (path === '/there') redirected();
      else response.writeHead(302, { location: '/there' }).end();
    });
    const answer = sendRequest(server.request).catch((error: unknown) => error);
    await isRedirected;
    (await timers.next())();
    expect(await answer).to.include({ code: 'ETL-3551', why: 'no answer within 60 s' });
  });

  it('in the middle of its answer: the input fails after 300 seconds without a byte', async () => {
    using timers = holdTimers(300_000);
    await using server = await serve((response) => response.writeHead(200).write('id\n1\n'));
    const { body } = await sendRequest(server.request);
    expect(String((await body.next()).value)).to.equal('id\n1\n');
    const next = body.next().catch((error: unknown) => error);
    (await timers.next())();
    expect(await next).to.include({
      code: 'ETL-3551',
      why: 'the answer broke off after 5 bytes: no byte came for 300 s',
    });
  });
});
