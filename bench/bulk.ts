import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';
import { Client } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { Stage } from './benchmark.js';
import { createEtlRun } from './etl.js';
import { EVENTS } from './events.js';
import { measureUsage, type Variant } from './measure.js';
import { fillTable } from './movement.js';

const CONFIG = fileURLToPath(new URL('./project/bulk.config.ts', import.meta.url));
const ROWS = 300_000;
const SHORT_ROWS = 100_000;

/** The files that the cases read, by their names in `BENCH_FROM`. */
type InputName =
  'csv' | 'csv.gz' | 'ndjson' | 'strings.ndjson' | 'decimals.ndjson' | 'nested.ndjson' | 'parquet';

/** One way to move rows. The Dag with its ID is in `project/bulk.config.ts`. */
export interface BulkCase {
  readonly kind: 'load' | 'ndjson' | 'rows' | 'unload' | 'transfer' | 'session';
  readonly work: string;
  readonly dagId: string;
  /** Default: `csv`. */
  readonly from?: InputName;
  /** The extension of the file that the Dag writes. */
  readonly to?: string;
  /** The statements before each round. Default: `truncate ev`. */
  readonly before?: string;
  /** The table that has all rows afterwards. */
  readonly table?: string;
}

const EV = { table: 'ev' } as const;
const NEW = { table: 'created', before: 'drop table if exists created' } as const;
/** A table with half of the rows, and other amounts. */
const HALF = {
  table: 'evpk',
  before: `drop table if exists evpk; create table evpk ${EVENTS}; alter table evpk add primary key (id);
    insert into evpk select id, ts, user_id, email, country, amount + 1, quantity, note from src where id % 2 = 0`,
} as const;
const UNNAMED = {
  table: 'narrow',
  before: `drop table if exists narrow; create table narrow (id bigint, ts timestamptz, user_id smallint, email text)`,
} as const;

/** Every way to move rows. */
export const BULK: readonly BulkCase[] = [
  { kind: 'load', work: 'load CSV', dagId: 'load', ...EV },
  { kind: 'load', work: 'load CSV, gzip', dagId: 'load', from: 'csv.gz', ...EV },
  { kind: 'load', work: 'load CSV, `transform`', dagId: 'transform', ...EV },
  { kind: 'load', work: 'load CSV, `rejects`', dagId: 'rejects', ...EV },
  { kind: 'load', work: 'load CSV, `create`', dagId: 'create', ...NEW },
  { kind: 'load', work: 'load CSV, `evolve`', dagId: 'evolve', ...UNNAMED },
  {
    kind: 'load',
    work: 'load CSV, `discard`',
    dagId: 'discard',
    ...UNNAMED,
    before: UNNAMED.before.replace('smallint', 'int'),
  },
  { kind: 'load', work: 'load CSV, `merge`', dagId: 'merge', ...HALF },
  { kind: 'load', work: 'load Parquet', dagId: 'load', from: 'parquet', ...EV },
  { kind: 'load', work: 'load Parquet, `transform`', dagId: 'transform', from: 'parquet', ...EV },
  { kind: 'ndjson', work: 'load NDJSON', dagId: 'load', from: 'ndjson', ...EV },
  { kind: 'ndjson', work: 'load NDJSON, `transform`', dagId: 'transform', from: 'ndjson', ...EV },
  { kind: 'ndjson', work: 'load NDJSON of strings', dagId: 'load', from: 'strings.ndjson', ...EV },
  {
    kind: 'ndjson',
    work: 'load NDJSON of strings, `transform`',
    dagId: 'transform',
    from: 'strings.ndjson',
    ...EV,
  },
  { kind: 'ndjson', work: 'load NDJSON with 1.50', dagId: 'load', from: 'decimals.ndjson', ...EV },
  {
    kind: 'ndjson',
    work: 'load NDJSON with 1.50, `transform`',
    dagId: 'transform',
    from: 'decimals.ndjson',
    ...EV,
  },
  {
    kind: 'ndjson',
    work: 'load NDJSON, nested',
    dagId: 'nested',
    from: 'nested.ndjson',
    table: 'nested',
    before: 'truncate nested',
  },
  {
    kind: 'ndjson',
    work: 'load NDJSON, nested, `transform`',
    dagId: 'nested-transform',
    from: 'nested.ndjson',
    table: 'nested',
    before: 'truncate nested',
  },
  { kind: 'ndjson', work: 'load NDJSON, `rejects`', dagId: 'rejects', from: 'ndjson', ...EV },
  { kind: 'ndjson', work: 'load NDJSON, `create`', dagId: 'create', from: 'ndjson', ...NEW },
  { kind: 'rows', work: 'load an array of rows', dagId: 'array', ...EV },
  { kind: 'rows', work: 'load rows of a generator', dagId: 'generator', ...EV },
  { kind: 'rows', work: 'load rows of a generator, `create`', dagId: 'generator-create', ...NEW },
  { kind: 'unload', work: 'unload CSV', dagId: 'unload', to: 'csv' },
  { kind: 'unload', work: 'unload CSV, gzip', dagId: 'unload', to: 'csv.gz' },
  { kind: 'unload', work: 'unload NDJSON', dagId: 'unload', to: 'ndjson' },
  { kind: 'unload', work: 'unload Parquet', dagId: 'unload', to: 'parquet' },
  { kind: 'transfer', work: 'transfer', dagId: 'transfer', ...EV },
  {
    kind: 'transfer',
    work: 'transfer into other types',
    dagId: 'transfer',
    table: 'other',
    before: 'truncate other',
  },
  { kind: 'session', work: '`session.rows`', dagId: 'session-rows' },
  { kind: 'session', work: '`session.copyFrom` of bytes', dagId: 'copy-from', ...EV },
];

/** Creates the variant that runs a case in the database `url`. */
export function createBulkRun(
  stage: Stage,
  { dagId, table }: BulkCase,
  { url, from, to }: { readonly url: string; readonly from: string; readonly to: string },
): Variant {
  const { server } = stage;
  const env = {
    DATABASE_URL: url,
    OTHER_URL: url === server.url ? server.otherUrl : server.url,
    BENCH_FROM: from,
    BENCH_TO: to,
    BENCH_INTO: table,
    BENCH_ROWS: String(countRows(stage)),
    BENCH_ARRAY: dagId === 'array' ? 'true' : undefined,
  };
  return createEtlRun(stage, dagId, { env }, CONFIG);
}

function countRows({ isShort }: Stage): number {
  return isShort ? SHORT_ROWS : ROWS;
}

/** The files that the cases read, and the number of their rows. */
export interface Inputs {
  readonly rows: number;
  /** Returns the path of a file. */
  find(name: InputName): string;
}

/** Creates the tables of the cases in both databases, and their files, if they do not exist yet. */
export async function prepareBulk(stage: Stage): Promise<Inputs> {
  const { server, folder } = stage;
  const rows = countRows(stage);
  const inputs: Inputs = { rows, find: (name) => join(folder, `input.${name}`) };
  const [found] = await server.query("select to_regclass('narrow') as name");
  if (found?.['name'] !== null) return inputs;
  for (const url of [server.url, server.otherUrl]) {
    await fillTable(server, rows, url);
    await server.query(TABLES, url);
  }
  for (const [name, query] of Object.entries(INPUTS)) {
    const file = createWriteStream(inputs.find(name as InputName));
    await copyQuery(server.url, query, name.endsWith('.gz') ? [createGzip(), file] : [file]);
  }
  const to = inputs.find('parquet');
  const unload: BulkCase = { kind: 'unload', work: 'write Parquet', dagId: 'unload' };
  await measureUsage(createBulkRun(stage, unload, { url: server.url, from: to, to }));
  return inputs;
}

const TABLES = `
  create table ev ${EVENTS};
  create table other ${EVENTS.replace('user_id int', 'user_id bigint').replace('email text', 'email varchar(60)')};
  create table nested (id bigint, customer jsonb, tags text[], items jsonb);
  create table evpk ${EVENTS};
  create table narrow (id bigint);
`;

/** The queries whose results are the files. COPY writes a text of JSON unchanged, because it has no such signs. */
const INPUTS: Readonly<Partial<Record<InputName, string>>> = {
  csv: 'copy src to stdout (format csv, header true)',
  'csv.gz': 'copy src to stdout (format csv, header true)',
  ndjson: copyJson('select id, ts, user_id, email, country, amount::float8, quantity, note from src'),
  'strings.ndjson': copyJson(
    'select id::text, ts::text, user_id::text, email, country, amount::text, quantity::text, note from src',
  ),
  'decimals.ndjson': copyJson('select * from src'),
  'nested.ndjson':
    copyJson(`select id, json_build_object('id', user_id, 'email', email, 'country', country) as customer,
    array[country, 'alpha', 'beta'] as tags, json_build_array(json_build_object('sku', 'A' || id, 'price', amount::float8,
      'quantity', quantity), json_build_object('sku', 'B' || id, 'price', 9.5, 'quantity', 2)) as items from src`),
};

/** Returns the COPY that writes the rows of a query as NDJSON. */
function copyJson(query: string): string {
  return `copy (select row_to_json(t) from (${query}) t) to stdout (format csv, quote e'\\x01', delimiter e'\\x02')`;
}

async function copyQuery(
  url: string,
  query: string,
  streams: readonly NodeJS.ReadWriteStream[] | readonly NodeJS.WritableStream[],
): Promise<void> {
  const client = new Client(url);
  await client.connect();
  try {
    await pipeline([client.query(copyTo(query)), ...streams]);
  } finally {
    await client.end();
  }
}
