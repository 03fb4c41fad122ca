import { Client } from 'pg';
import { cluster, type Cluster } from '../test/support/cluster.js';

/** As a server comes, with more memory: every COMMIT waits for the disk. */
const SETTINGS: Readonly<Record<string, string>> = {
  fsync: 'on',
  full_page_writes: 'on',
  wal_level: 'replica',
  shared_buffers: '1GB',
  max_wal_size: '8GB',
  autovacuum: 'off',
};

/** A server of the benchmark's own, and its two databases. */
export interface Server {
  readonly version: string;
  readonly url: string;
  readonly otherUrl: string;
  /** One statement in one of the databases; not timed. */
  query(sql: string, url?: string): Promise<Record<string, unknown>[]>;
}

export async function startServer(): Promise<Server> {
  const own = await cluster();
  for (const [name, value] of Object.entries(SETTINGS))
    await queryOf(own.url('postgres'), `alter system set ${name} = '${value}'`);
  await own.restart('fast');
  for (const name of ['bench', 'other']) await queryOf(own.url('postgres'), `create database ${name}`);
  const [url, otherUrl] = [own.url('bench'), own.url('other')];
  const [row] = await queryOf(url, 'show server_version');
  const version = String(row?.['server_version']);
  return { version, url, otherUrl, query: (sql, database = url) => queryOf(database, sql) };
}

async function queryOf(url: ReturnType<Cluster['url']>, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}
