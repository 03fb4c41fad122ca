import { openSync, closeSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Fault, Shard } from './fault.js';
import { HARMS } from './midway.js';
import { formatEnded, type RunningProcess } from './product.js';
import { strike, untilDone } from './resume.js';
import { Spread } from './spread.js';
import { computeQuantile, type Tally } from './tally.js';
import { sleep, Workload } from './workload.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SIGNALS_SENT = 24;
/**
 * The 95th percentile of the time from a signal to the end of the process must not exceed this limit, in milliseconds.
 */
const SIGNAL_P95_MS = 500;

/** Faults of the process of a run, except kill -9. */
export const PROCESSES: readonly Fault[] = [
  {
    id: 'F11',
    title: 'SIGINT, SIGTERM, SIGHUP in any phase',
    seconds: 35,
    run: sendSignals,
    conclude: concludeSignals,
  },
  { id: 'F12', title: 'exit, rejection, timer, abort, heap limit, endless loop in a task', run: harmProcess },
  { id: 'F13', title: 'closed pipes and a full disk behind stdout and stderr', run: breakStreams },
];

async function sendSignals(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally, { pauseMs: 30 });
  const spread = new Spread(shard.random, 200);
  while (tally.injections < SIGNALS_SENT && !shard.isOver()) {
    const runId = await work.newRun();
    await untilDone(shard, work, {
      runId,
      inject: async (running) => {
        if (tally.injections < SIGNALS_SENT) await sendSignal({ shard, work, spread }, running);
      },
      codes: [null, ...SIGNALS.map(getExitCode)],
    });
    await work.check(runId);
  }
}

interface SignalContext {
  readonly shard: Shard;
  readonly work: Workload;
  readonly spread: Spread;
}

/**
 * Sends a signal in any phase: while the process starts, while it works, or after it has ended. Sometimes sends two
 * signals.
 */
async function sendSignal({ shard, work, spread }: SignalContext, running: RunningProcess): Promise<void> {
  const { tally, random } = shard;
  const name = random.pick(SIGNALS);
  if (random.next() < 0.7) await spread.waitForMoment(running);
  else await sleep(random.between(0, 700));
  const sentAt = performance.now();
  if (!spread.strike(running, name)) return;
  tally.injections++;
  if (random.next() < 0.2) {
    await sleep(random.between(0, 5));
    strike(running, name);
  }
  const ended = await running.ended;
  tally.addTime('signals', performance.now() - sentAt);
  // A signal before the program has installed its listeners ends Node itself. A shell shows 128 + n in both cases.
  const isRight = ended.signal === name || ended.code === getExitCode(name);
  if (!isRight && ended.code !== 0) tally.addProblem(`${name}: ${formatEnded(ended)}`);
  await work.expectNoSessions(name);
}

function getExitCode(name: (typeof SIGNALS)[number]): number {
  return 128 + constants.signals[name];
}

function concludeSignals(tally: Tally): void {
  const times = tally.listTimes('signals');
  const p95 = computeQuantile(times, 0.95);
  tally.notes.push(`p95 of ${times.length} ${p95.toFixed(0)} ms`);
  if (p95 > SIGNAL_P95_MS)
    tally.addProblem(`the 95th percentile is ${p95.toFixed(0)} ms instead of ${SIGNAL_P95_MS}`);
}

const HARMED = 't4';

async function harmProcess(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally);
  for (const harm of Object.keys(HARMS)) {
    const runId = await work.newRun();
    const file = join(shard.product.directory, 'harm');
    await writeFile(file, harm);
    const env = { ...work.env, WORK_HARM: file, WORK_HARMED: HARMED };
    const node = harm === 'heap limit' ? ['--max-old-space-size=64'] : [];
    const flags = harm === 'endless loop' ? ['--max-block', '1s'] : [];
    const ended = await shard.product.run(runId, false, { env, node, flags }).ended;
    tally.injections++;
    if (ended.code === 0) tally.addProblem(`${harm}: ${formatEnded(ended)}`);
    if (harm === 'endless loop' && !ended.stderr.includes(`ETL-3304`))
      tally.addProblem(`${harm}: ${formatEnded(ended)}`);
    // Only these three end the process. Every other harm fails one task.
    if (!['abort', 'heap limit', 'endless loop'].includes(harm)) {
      const recorded = await work.readRecorded(runId);
      const expected = Array.from({ length: work.tasks }, (_, i) => `t${i}`).filter(
        (id) => !['t4', 't7', 't10'].includes(id),
      );
      if (ended.code !== 1 || recorded.join() !== expected.toSorted().join())
        tally.addProblem(`${harm}: done ${recorded.join()}; ${formatEnded(ended)}`);
    }
    await writeFile(file, '');
    await untilDone(shard, work, { runId, codes: [], options: () => ({ env }) });
    await work.check(runId);
  }
}

async function breakStreams(shard: Shard): Promise<void> {
  const { tally } = shard;
  await using work = await Workload.create(tally);
  const full = openSync('/dev/full', 'w');
  const { env } = work;
  const plain = (runId: string): readonly string[] => ['run', 'd', '--run-id', runId];
  const ways: readonly ((runId: string) => RunningProcess)[] = [
    (runId) => {
      const running = shard.product.run(runId, false, { env });
      running.child.stdout?.destroy();
      return running;
    },
    (runId) => {
      const running = shard.product.start(plain(runId), { env });
      running.child.stderr?.destroy();
      return running;
    },
    (runId) => {
      const running = shard.product.run(runId, false, { env });
      void running.working.then(() => running.child.stdout?.destroy());
      return running;
    },
    (runId) => shard.product.run(runId, false, { env, stdout: full }),
    (runId) => shard.product.start(plain(runId), { env, stderr: full }),
    (runId) => shard.product.start([...plain(runId), '--json'], { env, stdout: full, stderr: full }),
  ];
  for (const [n, way] of ways.entries()) {
    const runId = await work.newRun();
    const ended = await way(runId).ended;
    tally.injections++;
    if (ended.code !== 0) tally.addProblem(`stream ${n}: ${formatEnded(ended)}`);
    await work.check(runId);
  }
  closeSync(full);
}
