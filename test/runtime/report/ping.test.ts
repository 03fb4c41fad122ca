import { expect } from 'chai';
import { BODY_BYTES, parsePingUrl, Pinger, type PingLimits } from '../../../src/runtime/report/ping.js';
import { startWebServer, type WebRequest, type WebServer } from '../../support/web-server.js';

const LIMITS: PingLimits = { tryMs: 60_000, pauseMs: 0, totalMs: 60_000 };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('a pinger', () => {
  let server: WebServer;
  let notices: string[];
  beforeEach(async () => {
    server = await startWebServer();
    notices = [];
  });
  afterEach(() => server[Symbol.asyncDispose]());

  /** Sends both pings of a run to this path. Returns the requests with `<rid>` for the ID of the run. */
  async function ping(path: string, exitCode: number, body = 'the summary'): Promise<readonly WebRequest[]> {
    const url = parsePingUrl(server.url + path, 'daily');
    if (url === undefined) throw new Error('not a URL');
    const pinger = new Pinger(url, (text) => notices.push(text), LIMITS);
    pinger.start();
    await pinger.end(exitCode, body);
    return server.requests;
  }

  const paths: readonly [title: string, path: string, exitCode: number, start: string, end: string][] = [
    ['a success at the URL itself', '/a1', 0, '/a1/start?rid=<rid>', '/a1?rid=<rid>'],
    ['a failure with its exit code', '/a1', 3, '/a1/start?rid=<rid>', '/a1/3?rid=<rid>'],
    ['a stop by SIGTERM', '/a1', 143, '/a1/start?rid=<rid>', '/a1/143?rid=<rid>'],
    ['a URL that ends with a slash', '/a1/', 1, '/a1/start?rid=<rid>', '/a1/1?rid=<rid>'],
    [
      'a query of the user',
      '/k/daily?create=1',
      1,
      '/k/daily/start?create=1&rid=<rid>',
      '/k/daily/1?create=1&rid=<rid>',
    ],
    [
      'a fragment, which no server gets',
      '/a1?x=%2F#top',
      1,
      '/a1/start?x=%2F&rid=<rid>',
      '/a1/1?x=%2F&rid=<rid>',
    ],
    ['a rid of the user', '/a1?rid=mine', 1, '/a1/start?rid=mine', '/a1/1?rid=mine'],
    ['a URL without a path', '', 1, '/start?rid=<rid>', '/1?rid=<rid>'],
    [
      'the ID of the Dag',
      '/k/{dag}?create=1',
      0,
      '/k/daily/start?create=1&rid=<rid>',
      '/k/daily?create=1&rid=<rid>',
    ],
  ];
  for (const [title, path, exitCode, start, end] of paths) {
    it(`keeps the parts of the URL, and pings ${title}`, async () => {
      const requests = await ping(path, exitCode);
      const rids = requests.map(({ url }) => new URL(url, server.url).searchParams.get('rid') ?? '');
      expect(new Set(rids).size, 'both pings have the same rid').to.equal(1);
      if (rids[0] !== 'mine') expect(rids[0]).to.match(UUID);
      const masked = requests.map(({ url }) => url.replace(/rid=[0-9a-f-]{36}/, 'rid=<rid>'));
      expect(masked).to.deep.equal([start, end]);
      expect(requests.map(({ method, body }) => [method, body])).to.deep.equal([
        ['POST', ''],
        ['POST', 'the summary'],
      ]);
      expect(notices).to.deep.equal([]);
    });
  }

  it('sends the user and password of the URL as basic authentication', async () => {
    server.url = server.url.replace('://', '://us%40er:p%3Aw@');
    const [start] = await ping('/a1', 0);
    expect(start?.headers.authorization).to.equal(`Basic ${Buffer.from('us@er:p:w').toString('base64')}`);
  });

  it('sends the first 100,000 bytes of the summary, without half a character', async () => {
    const [, end] = await ping('/a1', 1, `x${'é'.repeat(60_000)}`);
    expect(end?.body).to.equal(`x${'é'.repeat((BODY_BYTES - 2) / 2)}`);
  });

  it('repeats a ping that the server could not take, and says nothing if it arrives then', async () => {
    server.statuses.push(500, 200, 503, 429, 200);
    const requests = await ping('/a1', 1);
    expect(requests.map(({ url }) => url.replace(/\?.*/, ''))).to.deep.equal([
      '/a1/start',
      '/a1/start',
      '/a1/1',
      '/a1/1',
      '/a1/1',
    ]);
    expect(notices).to.deep.equal([]);
  });

  it('does not repeat a ping that the server refuses, and says so without the URL', async () => {
    server.statuses.push(200, 404);
    expect(await ping('/a1b2c3d4e5', 1)).to.have.length(2);
    expect(notices).to.deep.equal([
      'the ping of the end of the run did not arrive (HTTP status 404); the run is not affected',
    ]);
  });

  it('gives up after three tries if nobody listens', async () => {
    await server[Symbol.asyncDispose]();
    await ping('/a1', 0);
    expect(notices).to.have.length(2);
    expect(notices[0]).to.match(/^the ping of the start of the run did not arrive \(.*ECONNREFUSED.*\)/);
    expect(notices[1]).to.match(/^the ping of the end of the run did not arrive \(.*ECONNREFUSED.*\)/);
  });

  it('ends within its limit if the server never answers', async () => {
    server.holdAnswers();
    const url = new URL(`${server.url}/a1`);
    const limits = { tryMs: 20, pauseMs: 0, totalMs: 50 };
    const pinger = new Pinger(url, (text) => notices.push(text), limits);
    pinger.start();
    await pinger.end(1, '');
    expect(notices).to.have.length(2);
    expect(notices.join()).to.include('no answer in time');
  });

  for (const text of ['hc-ping.com/a1', 'ftp://hc-ping.com/a1', 'https://', ''])
    it(`refuses "${text}"`, () => expect(parsePingUrl(text, 'd')).to.equal(undefined));

  it('refuses a URL with {dag} if there is no Dag', () => {
    expect(parsePingUrl('https://hc-ping.com/k/{dag}', undefined)).to.equal(undefined);
    expect(parsePingUrl('https://hc-ping.com/a1', undefined)?.href).to.equal('https://hc-ping.com/a1');
  });
});
