import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { expect } from 'chai';
import { parseServerVersion } from '../../../src/hooks/client.js';
import { dag } from '../../../src/runtime/dag/dag.js';
import { cluster, createDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

const NAME = 'server_version\0';

/** Starts a proxy that replaces the major version that the server reports by 13. */
async function startOldServer(port: number): Promise<AsyncDisposable & { port: number }> {
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    client.on('error', () => upstream.destroy()).pipe(upstream);
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    upstream.on('data', (chunk: Buffer) => {
      const at = chunk.indexOf(NAME);
      if (at !== -1) chunk.write('13', at + NAME.length);
      client.write(chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

describe('the version of a server', () => {
  it('is refused below 14, with the version in the message, and nothing is changed', async () => {
    await using db = await createDatabase();
    const { port } = await cluster();
    await using old = await startOldServer(port);
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => void d.sql('a', { sql: 'select 1' }));
    const error = await runOn({ db: db.url.replace(`:${port}/`, `:${old.port}/`) }, graph).catch(
      (reason: unknown) => reason,
    );
    expect(error).to.include({ code: 'ETL-2214', exitCode: 2 });
    expect((error as Error).message).to.match(
      /^connection "db" leads to PostgreSQL 13\.\d+.*, and etl needs version 14 or later$/,
    );
    expect(await db.query(`select from pg_namespace where nspname = 'etl'`)).to.deep.equal([]);
  });

  // The numbers are those that the servers themselves have as server_version_num.
  for (const [text, number] of [
    ['18.4', 180_004],
    ['17.4 (Debian 17.4-1.pgdg120+2)', 170_004],
    ['14beta2', 140_000],
    ['13.23', 130_023],
    ['9.6.24', 90_624],
    ['', undefined],
  ] as const) {
    it(`is ${number} for "${text}"`, () => {
      expect(parseServerVersion(text)).to.equal(number);
    });
  }
});
