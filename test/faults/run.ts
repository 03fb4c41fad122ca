import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { stopCluster } from '../support/cluster.js';
import { createDatabase } from '../support/database.js';
import { FAULTS } from './faults.js';
import type { Fault } from './fault.js';
import { openProduct, type Product } from './product.js';
import { Random } from './random.js';
import { Tally, formatTable, judgeFault } from './tally.js';

/** The number of shards that run at the same time: one for each core of the smallest machine. */
const SHARDS_AT_ONCE = 2;
/** The number of rounds of a nightly run. Together they inject more than 10,000 faults. */
const NIGHTLY_ROUNDS = 10;

interface SuiteOptions {
  readonly seed: number;
  readonly rounds: number;
  readonly endsAt: number;
  readonly faults: readonly Fault[];
}

interface Entry {
  readonly fault: Fault;
  readonly tally: Tally;
}

const options = parseOptions(process.argv.slice(2));
process.exitCode = (await main(options)) ? 0 : 1;

function parseOptions(args: string[]): SuiteOptions {
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
      `unknown fault ${unknown.join(', ')}; the faults are ${FAULTS.map(({ id }) => id).join(', ')}`,
    );
  return {
    faults,
    seed: values.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(values.seed),
    rounds: values.nightly ? NIGHTLY_ROUNDS : 1,
    endsAt: values.minutes === undefined ? Infinity : performance.now() + Number(values.minutes) * 60_000,
  };
}

/** Runs the suite and prints the table. Returns true if all verdicts are good. */
async function main(ordered: SuiteOptions): Promise<boolean> {
  const { seed, rounds, endsAt, faults } = ordered;
  const startedAt = performance.now();
  say(`seed ${seed}, ${rounds} round(s): repeat it with --seed ${seed}`);
  const entries = faults.map((fault) => ({ fault, tally: new Tally() }));
  const unhandledErrors: string[] = [];
  const onUnhandledError = (error: unknown): void =>
    void unhandledErrors.push(error instanceof Error ? (error.stack ?? '') : String(error));
  process.on('unhandledRejection', onUnhandledError).on('uncaughtException', onUnhandledError);
  const product = await openProduct();
  let server: string;
  try {
    server = await readServerVersion();
    for (let round = 0; round < rounds && performance.now() < endsAt; round++) {
      await runRound(entries, { seed, round, nightly: rounds > 1, endsAt, product });
    }
  } finally {
    await product[Symbol.asyncDispose]();
    await stopCluster();
  }
  for (const { fault, tally } of entries) fault.conclude?.(tally);
  for (const error of unhandledErrors) say(`unhandled error in this process: ${error}`);
  say(`\n${formatTable(entries)}\n`);
  say(formatFooter(entries, ordered, { server, minutes: (performance.now() - startedAt) / 60_000 }));
  return unhandledErrors.length === 0 && entries.every(({ fault, tally }) => judgeFault(fault, tally).isGood);
}

async function readServerVersion(): Promise<string> {
  await using db = await createDatabase();
  const [row] = await db.query<{ server_version: string }>('show server_version');
  return row?.server_version ?? '?';
}

/** Formats the line below the table: date, versions, number of injections, seed. */
function formatFooter(
  entries: readonly Entry[],
  { seed, rounds, endsAt }: SuiteOptions,
  { server, minutes }: { readonly server: string; readonly minutes: number },
): string {
  const total = entries.reduce((sum, { tally }) => sum + tally.injections, 0).toLocaleString('en-US');
  const machine = `PostgreSQL ${server}, Node ${process.version}, ${cpus().length} cores`;
  const facts = `${total} injections in ${minutes.toFixed(1)} min, ${rounds} round(s), seed ${seed}`;
  const end = performance.now() > endsAt ? ' The time was over before all was done.' : '';
  return `${new Date().toISOString().slice(0, 10)}; ${machine}: ${facts}.${end}`;
}

interface Round {
  readonly seed: number;
  readonly round: number;
  readonly nightly: boolean;
  readonly endsAt: number;
  readonly product: Product;
}

/** Runs all shards once. Shards with `runsAlone` come last, one after the other. */
async function runRound(entries: readonly Entry[], round: Round): Promise<void> {
  const shards = entries.flatMap((entry) =>
    Array.from({ length: entry.fault.shards ?? 1 }, (_, index) => ({ ...entry, index })),
  );
  const beside = shards
    .filter(({ fault }) => !fault.runsAlone)
    .toSorted((a, b) => (b.fault.seconds ?? 0) - (a.fault.seconds ?? 0));
  const runShards = async (): Promise<void> => {
    for (let next = beside.shift(); next !== undefined; next = beside.shift())
      await runShard(next, next.index, round);
  };
  await Promise.all(Array.from({ length: SHARDS_AT_ONCE }, runShards));
  for (const shard of shards.filter(({ fault }) => fault.runsAlone))
    await runShard(shard, shard.index, round);
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
    own.addProblem(
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
