import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Fault, Shard } from './fault.js';
import { formatEnded, startNode, type RunningProcess } from './product.js';
import { strike } from './resume.js';
import { sleep, Workload } from './workload.js';

const STOPS = 3;
/** The rule of the control kills in about a third of the stops, because two timers compete. */
const CONTROL_STOPS = 25;
const MAX_BLOCK_MS = 1500;
/** The time that each task blocks the event loop, in milliseconds of the processor. A busy machine needs a multiple. */
const BLOCK_MS = 50;

const CONTROLS = new URL('./controls/', import.meta.url);
const MINI_RUNNER = fileURLToPath(new URL('mini-runner.js', CONTROLS));
const NAIVE_WATCHDOG = pathToFileURL(fileURLToPath(new URL('naive-watchdog.js', CONTROLS))).href;
const MINI_LEDGER =
  'create table mini (run_id text, task_id text, state text, primary key (run_id, task_id))';

/** Faults of a process that stands still and then goes on. */
export const SUSPENSIONS: readonly Fault[] = [
  {
    id: 'F22',
    title: 'SIGSTOP for longer than --max-block, SIGCONT',
    seconds: 12,
    run: (shard) => suspend(shard),
  },
];

/**
 * Stops a process for longer than its event loop may be blocked, and lets it go on. The process must end with success. A
 * task blocks the event loop for a short time, so the event loop shows no life in the first moment after SIGCONT.
 *
 * `isControl`: a simple runner whose watchdog takes a late look for proof.
 */
export async function suspend(shard: Shard, isControl = false): Promise<void> {
  const { tally, random } = shard;
  await using work = await Workload.create(tally, { tasks: 16, pauseMs: 0 });
  if (isControl) await work.db.query(MINI_LEDGER);
  const stops = isControl ? CONTROL_STOPS : STOPS;
  const enough = isControl ? 1 : Infinity;
  while (tally.injections < stops && tally.wrong < enough && !shard.isOver()) {
    const runId = await work.newRun();
    const running = isControl ? startMini(shard, work, runId) : start(shard, work, runId);
    await running.working;
    // The watchdog thread starts with the first task.
    await sleep(random.between(100, 500));
    if (strike(running, 'SIGSTOP')) tally.injections++;
    await sleep(MAX_BLOCK_MS * random.between(1.2, 1.6));
    strike(running, 'SIGCONT');
    const ended = await running.ended;
    if (ended.code !== 0) tally.addProblem(`${runId} after SIGCONT: ${formatEnded(ended)}`);
    // The run is not resumed: a task that it did not do is lost.
    await work.check(runId, isControl ? { ledger: 'mini' } : {});
  }
}

function start({ product }: Shard, { env }: Workload, runId: string): RunningProcess {
  return product.run(runId, false, {
    env: { ...env, WORK_BLOCK: String(BLOCK_MS) },
    flags: ['--max-block', `${MAX_BLOCK_MS}ms`],
  });
}

function startMini({ product }: Shard, work: Workload, runId: string): RunningProcess {
  const env = {
    ...work.env,
    DATABASE_URL: work.db.url,
    RUN_ID: runId,
    MODE: 'together',
    WORK_BLOCK: String(BLOCK_MS),
    MAX_BLOCK_MS: String(MAX_BLOCK_MS),
  };
  return startNode(['--import', NAIVE_WATCHDOG, MINI_RUNNER], product.directory, { env });
}
