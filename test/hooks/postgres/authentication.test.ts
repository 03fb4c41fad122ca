import { expect } from 'chai';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { EtlError } from '../../../src/errors.js';
import { postgresHook } from '../../../src/hooks/postgres/postgres-hook.js';

const PASSWORD = 'sesame-S3CRET';

function message(type: string, ...parts: (number | string)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'string') return Buffer.from(`${part}\0`);
      const number = Buffer.alloc(4);
      number.writeInt32BE(part);
      return number;
    }),
  );
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), length, body]);
}

/** The answers of a server that authenticates a client in different ways. */
const OK = Buffer.concat([
  message('R', 0),
  message('S', 'server_version', '17.0'),
  message('K', 1, 2),
  Buffer.from('Z\0\0\0\x05I'),
]);
const ANSWERS = {
  trust: OK,
  password: message('R', 3),
  md5: message('R', 5, 0x01020304),
  scram: message('R', 10, 'SCRAM-SHA-256', ''),
} as const;

/** A server that answers the first message of a client, and keeps what the client sends after that. */
class AuthenticatingServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #clients: Socket[] = [];
  readonly #received: Buffer[] = [];

  private constructor(answer: Buffer) {
    this.#server = createServer((client) => {
      this.#clients.push(client);
      client.once('data', () => {
        client.write(answer);
        client.on('data', (bytes) => this.#received.push(bytes));
      });
      client.on('error', () => undefined); // The client ends the session.
    });
  }

  static async start(answer: Buffer): Promise<AuthenticatingServer> {
    const started = new AuthenticatingServer(answer);
    started.#server.listen(0, '127.0.0.1');
    await once(started.#server, 'listening');
    return started;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The types of the messages that the client sent after the answer: `p` has a password. */
  get received(): string {
    return this.#received.map((bytes) => String.fromCharCode(bytes[0] ?? 0)).join('');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

describe('a connection that asks for an authentication method', () => {
  // The outcomes are those of libpq 18.6 with the same answers. `sent` means that libpq goes on and sends a password.
  const rows: readonly [
    answer: keyof typeof ANSWERS,
    extra: Record<string, string>,
    outcome: 'open' | 'sent' | RegExp,
  ][] = [
    ['trust', {}, 'open'],
    ['trust', { require_auth: 'none' }, 'open'],
    ['trust', { require_auth: '!password' }, 'open'],
    ['trust', { require_auth: '!none' }, /did not authenticate the client, which require_auth=!none forbids/],
    ['trust', { require_auth: 'scram-sha-256' }, /did not authenticate the client/],
    ['trust', { require_auth: 'scram-sha-256,none' }, 'open'],
    ['trust', { channel_binding: 'require' }, /without channel binding/],
    ['password', {}, 'sent'],
    ['password', { require_auth: 'password' }, 'sent'],
    [
      'password',
      { require_auth: 'scram-sha-256' },
      /asks for a cleartext password, which require_auth=scram-sha-256 forbids/,
    ],
    ['password', { require_auth: 'none' }, /cleartext password/],
    ['password', { require_auth: '!password' }, /cleartext password/],
    ['password', { channel_binding: 'require' }, /cleartext password, which channel_binding=require forbids/],
    ['md5', {}, 'sent'],
    ['md5', { require_auth: 'md5' }, 'sent'],
    ['md5', { require_auth: '!md5' }, /asks for a hashed password/],
    ['md5', { channel_binding: 'require' }, /hashed password, which channel_binding=require forbids/],
    ['scram', {}, 'sent'],
    ['scram', { require_auth: 'scram-sha-256' }, 'sent'],
    ['scram', { require_auth: 'md5' }, /asks for SASL authentication, which require_auth=md5 forbids/],
    ['scram', { channel_binding: 'require' }, /channel_binding=require needs TLS/],
  ];
  for (const [answer, extra, outcome] of rows) {
    const text = Object.entries(extra).map((pair) => pair.join('='));
    const title =
      outcome instanceof RegExp
        ? 'sends no password to'
        : outcome === 'sent'
          ? 'logs in to'
          : 'opens a session on';
    it(`${title} a server with the method ${answer} with ${text.join() || 'no parameter'}`, async () => {
      await using server = await AuthenticatingServer.start(ANSWERS[answer]);
      const connection = {
        id: 'shop',
        scheme: 'postgres',
        definedBy: 'test',
        host: '127.0.0.1',
        port: server.port,
        login: 'u',
      };
      const database = await postgresHook.open(
        Object.defineProperty({ ...connection, extra: { ...extra, sslmode: 'disable' } }, 'password', {
          value: PASSWORD,
        }),
        {
          poolSize: 1,
          applicationName: 'etl',
          variables: { HOME: '/nowhere' },
          root: '/',
          pid: process.pid,
          notice: () => undefined,
        },
      );
      const opening = database.openControl?.();
      const opened = opening?.then(
        () => 'open',
        (error: unknown) => error,
      );
      if (outcome === 'sent')
        while (server.received !== 'p') await new Promise((resolve) => setImmediate(resolve));
      const found = outcome === 'sent' ? 'sent' : await opened;
      await database.close();
      await opened;
      if (!(outcome instanceof RegExp)) {
        expect(found).to.equal(outcome);
        return;
      }
      expect(found).to.be.instanceOf(EtlError).with.property('code', 'ETL-1001');
      expect((found as EtlError).why).to.match(outcome);
      expect(server.received).to.equal('');
    });
  }
});
