import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { dag } from '../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { runOn, type FinishedRun } from '../support/run.js';
import type { Fault, Shard } from './fault.js';
import { formatReason } from './in-process.js';
import type { Random } from './random.js';

const CUTS = 60;
const CONTROL_CUTS = 60;
/** The number of wrong loads that proves the control guilty. */
const ENOUGH = 3;
const WAYS = ['gzip', 'length', 'chunked'] as const;
/** One answer of this number is whole, so that a load that always fails is found. */
const WHOLE_EVERY = 8;

/** Sends the first `cut` bytes of the body. If `cut` is the length of the body, the answer is whole. */
type Delivery = (response: ServerResponse, body: Buffer, cut: number) => void;

const DELIVERIES: Readonly<Record<(typeof WAYS)[number], Delivery>> = {
  // The HTTP answer is complete. Only the compressed data show that something is missing.
  gzip: (response, body, cut) =>
    void response.writeHead(200, { 'content-encoding': 'gzip' }).end(body.subarray(0, cut)),
  length: (response, body, cut) => {
    response.writeHead(200, { 'content-length': body.length });
    sendPart(response, body, cut);
  },
  chunked: (response, body, cut) => {
    response.writeHead(200, { 'transfer-encoding': 'chunked' });
    sendPart(response, body, cut);
  },
};

function sendPart(response: ServerResponse, body: Buffer, cut: number): void {
  if (cut === body.length) response.end(body);
  else response.write(body.subarray(0, cut), () => response.destroy());
}

/** Faults of the server that an input comes from. */
export const TRUNCATIONS: readonly Fault[] = [
  { id: 'F24', title: 'HTTP bodies cut at a random byte', run: (shard) => truncate(shard) },
];

/**
 * Loads bodies that are cut. A load must keep nothing and fail, or keep everything.
 * `isControl`: the load takes the body of `fetch`, which takes a compressed body that was cut for a complete one.
 */
export async function truncate(shard: Shard, isControl = false): Promise<void> {
  const { tally, random } = shard;
  await using db = await createDatabase({ mayLeak: true });
  await db.query('create table t (id int, name text)');
  let answer: (response: ServerResponse) => void = (response) => response.destroy();
  const server = createServer((_request, response) => answer(response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/in.csv`;
  const from = isControl ? async () => (await fetch(url)).body ?? [] : url;
  const cuts = isControl ? CONTROL_CUTS : CUTS;
  const enough = isControl ? ENOUGH : Infinity;
  for (let n = 0; tally.injections < cuts && tally.wrong < enough && !shard.isOver(); n++) {
    const way = isControl ? 'gzip' : random.pick(WAYS);
    const rows = 1 + random.below(1000);
    const text = createText(random, rows);
    const body = way === 'gzip' ? gzipSync(text) : Buffer.from(text);
    const cut = n % WHOLE_EVERY === 0 ? body.length : chooseCut(random, body);
    answer = (response) => DELIVERIES[way](response, body, cut);
    if (cut < body.length) tally.injections++;
    await db.query(`truncate t; insert into t values (-1, 'old')`);
    const graph = dag('truncate', { defaults: { conn: 'db' } }, (d) => {
      d.load('l', { from, into: 't', mode: 'replace' });
    });
    const run = await runOn({ db: db.url }, graph);
    await judge(shard, db, {
      run,
      rows,
      what: `${way}, ${cut} of ${body.length} bytes`,
      isWhole: cut === body.length,
    });
  }
  server.closeAllConnections();
  server.close();
}

function createText(random: Random, rows: number): string {
  // The names are random, so that the compressed text has a byte for about every character too.
  const lines = Array.from({ length: rows }, (_, id) => `${id},${random.next().toString(36).slice(2)}\n`);
  return `id,name\n${lines.join('')}`;
}

/** Chooses a random byte, in a half of all cases after a line break: there a text that is not compressed looks complete. */
function chooseCut(random: Random, body: Buffer): number {
  const cut = random.below(body.length);
  const lineEnd = body.lastIndexOf('\n', cut) + 1;
  return random.next() < 0.5 && lineEnd < body.length ? lineEnd : cut;
}

interface Outcome {
  readonly run: FinishedRun;
  readonly rows: number;
  readonly what: string;
  readonly isWhole: boolean;
}

async function judge(
  { tally }: Shard,
  db: TestDatabase,
  { run, rows, what, isWhole }: Outcome,
): Promise<void> {
  tally.runs++;
  tally.tasks++;
  tally.executions++;
  const [{ kept, old } = { kept: 0, old: 0 }] = await db.query<{ kept: number; old: number }>(
    `select count(*) filter (where id >= 0)::int as kept, count(*) filter (where id < 0)::int as old from t`,
  );
  const recorded = await db.query(
    `select from etl.task where run_id = $1 and state = 'success' and seal is null`,
    [run.runId],
  );
  const isDone = run.state === 'success';
  const isRight = isDone
    ? kept === rows && old === 0 && recorded.length === 1
    : kept === 0 && old === 1 && recorded.length === 0;
  if (!isRight) {
    tally.partial++;
    tally.addExample(`${what}: ${run.state} with ${kept} of ${rows} rows, recorded ${recorded.length}`);
  }
  if (isWhole && !isDone) tally.addProblem(`${what}: ${formatReason(run)}`);
}
