import { openSync, closeSync } from 'node:fs';
import { constants } from 'node:os';
import type { Fault, Shard } from './fault.js';
import { HARMS } from './midway.js';
import { describe, type Under } from './product.js';
import { strike, untilDone } from './resume.js';
import { Spread } from './spread.js';
import { quantile, type Tally } from './tally.js';
import { moment, Workload } from './workload.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SIGNALS_SENT = 24;
/** From the signal to the end of the process, of 95 in 100, in milliseconds. */
const SIGNAL_P95_MS = 500;

/** What happens to the process of a run, apart from kill -9. */
export const PROCESSES: readonly Fault[] = [
  {
    id: 'F11',
    title: 'SIGINT, SIGTERM, SIGHUP in any phase',
    seconds: 35,
    run: signals,
    conclude: concludeSignals,
  },
  { id: 'F12', title: 'exit, rejection, timer, abort, heap limit, endless loop in a task', run: harms },
  { id: 'F13', title: 'closed pipes and a full disk behind stdout and stderr', run: streams },
];

async function signals(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally, { pauseMs: 30 });
  const spread = new Spread(shard.random, 200);
  while (tally.injections < SIGNALS_SENT && !shard.isOver()) {
    const runId = await work.newRun();
    await untilDone(shard, work, {
      runId,
      inject: async (under) => {
        if (tally.injections < SIGNALS_SENT) await signal({ shard, work, spread }, under);
      },
      codes: [null, ...SIGNALS.map(exitCodeOf)],
    });
    await work.check(runId);
  }
}

interface SignalScene {
  readonly shard: Shard;
  readonly work: Workload;
  readonly spread: Spread;
}

/** In any phase: while it starts, while it works, after it has ended; sometimes twice. */
async function signal({ shard, work, spread }: SignalScene, under: Under): Promise<void> {
  const { tally, random } = shard;
  const name = random.pick(SIGNALS);
  if (random.next() < 0.7) await spread.reach(under);
  else await moment(random.between(0, 700));
  const sentAt = performance.now();
  if (!spread.strike(under, name)) return;
  tally.injections++;
  if (random.next() < 0.2) {
    await moment(random.between(0, 5));
    strike(under, name);
  }
  const ended = await under.ended;
  tally.timed('signals', performance.now() - sentAt);
  // Before the program has a say, the signal ends Node itself: for a shell that is 128 + n as well.
  const isRight = ended.signal === name || ended.code === exitCodeOf(name);
  if (!isRight && ended.code !== 0) tally.problem(`${name}: ${describe(ended)}`);
  await work.expectNoSessions(name);
}

function exitCodeOf(name: (typeof SIGNALS)[number]): number {
  return 128 + constants.signals[name];
}

function concludeSignals(tally: Tally): void {
  const times = tally.times('signals');
  const p95 = quantile(times, 0.95);
  tally.notes.push(`p95 of ${times.length} ${p95.toFixed(0)} ms`);
  if (p95 > SIGNAL_P95_MS) tally.problem(`95 in 100 ended within ${p95.toFixed(0)} ms only`);
}

const HARMED = 't4';

async function harms(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally);
  for (const harm of Object.keys(HARMS)) {
    const runId = await work.newRun();
    const env = { ...work.env, WORK_HARM: harm, WORK_HARMED: HARMED };
    const node = harm === 'heap limit' ? ['--max-old-space-size=64'] : [];
    const flags = harm === 'endless loop' ? ['--max-block', '1s'] : [];
    const ended = await shard.product.run(runId, false, { env, node, flags }).ended;
    tally.injections++;
    if (ended.code === 0) tally.problem(`${harm}: ${describe(ended)}`);
    if (harm === 'endless loop' && !ended.stderr.includes(`ETL-3304`))
      tally.problem(`${harm}: ${describe(ended)}`);
    // Only these end the process: all else is the failure of one task.
    if (!['abort', 'heap limit', 'endless loop'].includes(harm)) {
      const recorded = await work.recorded(runId);
      const expected = Array.from({ length: work.tasks }, (_, i) => `t${i}`).filter(
        (id) => !['t4', 't7', 't10'].includes(id),
      );
      if (ended.code !== 1 || recorded.join() !== expected.toSorted().join())
        tally.problem(`${harm}: done ${recorded.join()}; ${describe(ended)}`);
    }
    await untilDone(shard, work, { runId, codes: [] });
    await work.check(runId);
  }
}

async function streams(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally);
  const full = openSync('/dev/full', 'w');
  const { env } = work;
  const plain = (runId: string): readonly string[] => ['run', 'd', '--run-id', runId];
  const ways: readonly ((runId: string) => Under)[] = [
    (runId) => {
      const under = shard.product.run(runId, false, { env });
      under.child.stdout?.destroy();
      return under;
    },
    (runId) => {
      const under = shard.product.start(plain(runId), { env });
      under.child.stderr?.destroy();
      return under;
    },
    (runId) => {
      const under = shard.product.run(runId, false, { env });
      void under.working.then(() => under.child.stdout?.destroy());
      return under;
    },
    (runId) => shard.product.run(runId, false, { env, stdout: full }),
    (runId) => shard.product.start(plain(runId), { env, stderr: full }),
    (runId) => shard.product.start([...plain(runId), '--json'], { env, stdout: full, stderr: full }),
  ];
  for (const [n, way] of ways.entries()) {
    const runId = await work.newRun();
    const ended = await way(runId).ended;
    tally.injections++;
    if (ended.code !== 0) tally.problem(`stream ${n}: ${describe(ended)}`);
    await work.check(runId);
  }
  closeSync(full);
}
