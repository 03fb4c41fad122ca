import { Client } from 'pg';
import { type Cluster, ownCluster } from '../test/support/cluster.js';

/** PostgreSQL's own defaults, with more memory and without autovacuum: each COMMIT waits for the disk. */
const SETTINGS: Readonly<Record<string, string>> = {
  fsync: 'on',
  full_page_writes: 'on',
  wal_level: 'replica',
  shared_buffers: '1GB',
  max_wal_size: '8GB',
  autovacuum: 'off',
};

/** The server of the benchmarks, with two databases. */
export interface Server {
  readonly version: string;
  readonly url: string;
  readonly otherUrl: string;
  /** Runs a statement in one of the databases. Default: the first. */
  query(sql: string, url?: string): Promise<Record<string, unknown>[]>;
}

/** Starts the server with the settings of the benchmarks, and creates its databases. */
export async function startServer(): Promise<Server> {
  const own = await ownCluster();
  for (const [name, value] of Object.entries(SETTINGS))
    await runQuery(own.url('postgres'), `alter system set ${name} = '${value}'`);
  await own.restart('fast');
  for (const name of ['bench', 'other']) await runQuery(own.url('postgres'), `create database ${name}`);
  const [url, otherUrl] = [own.url('bench'), own.url('other')];
  const [row] = await runQuery(url, 'show server_version');
  const version = String(row?.['server_version']);
  return { version, url, otherUrl, query: (sql, database = url) => runQuery(database, sql) };
}

async function runQuery(url: ReturnType<Cluster['url']>, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}
