import { parseArgs } from 'node:util';
import { stopCluster } from '../support/cluster.js';
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
async function main({ seed, rounds, endsAt, faults }: Order): Promise<boolean> {
  const startedAt = performance.now();
  say(`seed ${seed}, ${rounds} round(s): repeat it with --seed ${seed}`);
  const entries = faults.map((fault) => ({ fault, tally: new Tally() }));
  const strays: string[] = [];
  const onStray = (error: unknown): void =>
    void strays.push(error instanceof Error ? (error.stack ?? '') : String(error));
  process.on('unhandledRejection', onStray).on('uncaughtException', onStray);
  const product = await openProduct();
  try {
    for (let round = 0; round < rounds && performance.now() < endsAt; round++) {
      await runRound(entries, { seed, round, nightly: rounds > 1, endsAt, product });
    }
  } finally {
    await product[Symbol.asyncDispose]();
    await stopCluster();
  }
  for (const { fault, tally } of entries) fault.conclude?.(tally);
  const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
  for (const stray of strays) say(`unawaited in this process: ${stray}`);
  process.stdout.write(`\n${table(entries)}\n\n`);
  const total = entries.reduce((sum, { tally }) => sum + tally.injections, 0);
  say(
    `${total} injections in ${minutes} min, seed ${seed}${performance.now() > endsAt ? '; the time was up before all was done' : ''}`,
  );
  return strays.length === 0 && entries.every(({ fault, tally }) => verdictOf(fault, tally).isGood);
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
  const beside = shards.filter(({ fault }) => !fault.alone);
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
