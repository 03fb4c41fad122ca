import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { stopCluster } from '../support/cluster.js';
import { createDatabase } from '../support/database.js';
import { FAULTS } from './faults.js';
import type { Fault } from './fault.js';
import { openProduct, type Product } from './product.js';
import { Random } from './random.js';
import { Tally, table, verdictOf } from './tally.js';

/** How many shards run at once: one a core of the smallest machine. */
const LANES = 2;
/** Rounds of a night: with the injections of one round, more than 10,000 of them. */
const NIGHTLY_ROUNDS = 10;

interface Order {
  readonly seed: number;
  readonly rounds: number;
  readonly endsAt: number;
  readonly faults: readonly Fault[];
}

interface Entry {
  readonly fault: Fault;
  readonly tally: Tally;
}

const order = orderOf(process.argv.slice(2));
process.exitCode = (await main(order)) ? 0 : 1;

function orderOf(args: string[]): Order {
  const { values } = parseArgs({
    args,
    options: {
      nightly: { type: 'boolean', default: false },
      minutes: { type: 'string' },
      only: { type: 'string' },
      seed: { type: 'string' },
    },
  });
  const only = values.only?.split(',');
  const faults = FAULTS.filter(({ id }) => only === undefined || only.includes(id));
  const unknown = only?.filter((id) => !FAULTS.some((fault) => fault.id === id)) ?? [];
  if (unknown.length > 0)
    throw new Error(
      `There is no fault ${unknown.join(', ')}. There are ${FAULTS.map(({ id }) => id).join(', ')}.`,
    );
  return {
    faults,
    seed: values.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(values.seed),
    rounds: values.nightly ? NIGHTLY_ROUNDS : 1,
    endsAt: values.minutes === undefined ? Infinity : performance.now() + Number(values.minutes) * 60_000,
  };
}

/** Says whether every figure is as it must be. */
async function main(ordered: Order): Promise<boolean> {
  const { seed, rounds, endsAt, faults } = ordered;
  const startedAt = performance.now();
  say(`seed ${seed}, ${rounds} round(s): repeat it with --seed ${seed}`);
  const entries = faults.map((fault) => ({ fault, tally: new Tally() }));
  const unhandledErrors: string[] = [];
  const onStray = (error: unknown): void =>
    void unhandledErrors.push(error instanceof Error ? (error.stack ?? '') : String(error));
  process.on('unhandledRejection', onStray).on('uncaughtException', onStray);
  const product = await openProduct();
  let server: string;
  try {
    server = await serverVersion();
    for (let round = 0; round < rounds && performance.now() < endsAt; round++) {
      await runRound(entries, { seed, round, nightly: rounds > 1, endsAt, product });
    }
  } finally {
    await product[Symbol.asyncDispose]();
    await stopCluster();
  }
  for (const { fault, tally } of entries) fault.conclude?.(tally);
  for (const stray of unhandledErrors) say(`unawaited in this process: ${stray}`);
  say(`\n${table(entries)}\n`);
  say(footOf(entries, ordered, { server, minutes: (performance.now() - startedAt) / 60_000 }));
  return unhandledErrors.length === 0 && entries.every(({ fault, tally }) => verdictOf(fault, tally).isGood);
}

async function serverVersion(): Promise<string> {
  await using db = await createDatabase();
  const [row] = await db.query<{ server_version: string }>('show server_version');
  return row?.server_version ?? '?';
}

/** What the table stands for, to be kept with it. */
function footOf(
  entries: readonly Entry[],
  { seed, rounds, endsAt }: Order,
  { server, minutes }: { readonly server: string; readonly minutes: number },
): string {
  const total = entries.reduce((sum, { tally }) => sum + tally.injections, 0).toLocaleString('en-US');
  const place = `PostgreSQL ${server}, Node ${process.version}, ${cpus().length} cores`;
  const facts = `${total} injections in ${minutes.toFixed(1)} min, ${rounds} round(s), seed ${seed}`;
  const end = performance.now() > endsAt ? ' The time was up before all was done.' : '';
  return `${new Date().toISOString().slice(0, 10)}; ${place}: ${facts}.${end}`;
}

interface Round {
  readonly seed: number;
  readonly round: number;
  readonly nightly: boolean;
  readonly endsAt: number;
  readonly product: Product;
}

/** All shards once: first those that can run side by side, then those that need the machine for themselves. */
async function runRound(entries: readonly Entry[], round: Round): Promise<void> {
  const shards = entries.flatMap((entry) =>
    Array.from({ length: entry.fault.shards ?? 1 }, (_, index) => ({ ...entry, index })),
  );
  const beside = shards
    .filter(({ fault }) => !fault.alone)
    .toSorted((a, b) => (b.fault.seconds ?? 0) - (a.fault.seconds ?? 0));
  const lane = async (): Promise<void> => {
    for (let next = beside.shift(); next !== undefined; next = beside.shift())
      await runShard(next, next.index, round);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  for (const shard of shards.filter(({ fault }) => fault.alone)) await runShard(shard, shard.index, round);
}

async function runShard(
  { fault, tally }: Entry,
  index: number,
  { seed, round, nightly, endsAt, product }: Round,
): Promise<void> {
  const own = new Tally();
  const startedAt = performance.now();
  try {
    await fault.run({
      random: new Random(`${seed}/${round}/${fault.id}/${index}`),
      tally: own,
      product,
      isFirst: round === 0 && index === 0,
      nightly,
      isOver: () => performance.now() > endsAt,
    });
  } catch (error) {
    own.problem(
      `the suite stopped: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }
  own.seconds = (performance.now() - startedAt) / 1000;
  tally.add(own);
  if (!fault.control) for (const problem of own.problems) say(`  ${fault.id}: ${problem}`);
  const { injections, tasks, lost, doubled, partial, broken, seconds } = own;
  say(
    `${fault.id}.${round}.${index} ${fault.title}: ${injections} injections, ${tasks} tasks, ` +
      `${lost} lost, ${doubled} doubled, ${partial} partial, ${broken} broken, ${seconds.toFixed(1)} s`,
  );
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
