import { commitProxy, type CommitFault, type CommitProxy } from '../support/proxy.js';
import { cluster } from '../support/database.js';
import type { Fault, Shard } from './fault.js';
import { formatReason, resumeHere, runHere } from './in-process.js';
import { strike, untilDone } from './resume.js';
import { sleep, Workload } from './workload.js';

const TERMINATIONS = 300;
const TERMINATIONS_A_RUN = 25;
const ANY_TERMINATIONS = 60;
const CUTS = 50;
const ORPHANS = 4;

/** Faults that break a connection while its process lives. */
export const CONNECTIONS: readonly Fault[] = [
  { id: 'F3', title: 'pg_terminate_backend of a task', run: terminateTasks },
  { id: 'F3b', title: 'pg_terminate_backend of any session, the lock included', run: terminateAny },
  { id: 'F5a', title: 'COMMIT: answer lost', run: (shard) => breakTaskCommits(shard, 'answer lost') },
  { id: 'F5b', title: 'COMMIT: never sent', run: (shard) => breakTaskCommits(shard, 'never sent') },
  { id: 'F5c', title: 'COMMIT: delivered late', run: (shard) => breakTaskCommits(shard, 'delivered late') },
  {
    id: 'F5d',
    title: 'COMMIT: session left open',
    run: (shard) => breakTaskCommits(shard, 'session left open'),
  },
  { id: 'F5e', title: 'COMMIT: session left open, and its process killed', run: leaveSessionAndKill },
  { id: 'F5f', title: 'COMMIT of the run and of the install: all four', run: breakRunCommits },
];

const TASKS = `application_name like 'etl:%'`;
const ANY = `backend_type = 'client backend' and pid <> pg_backend_pid()`;

/** Ends one random session that matches the condition `which`. Returns the number of ended sessions: 0 or 1. */
async function terminate({ db }: Workload, which: string): Promise<number> {
  const rows = await db.query(
    `select pg_terminate_backend(pid) from (select pid from pg_stat_activity
       where datname = current_database() and ${which} order by random() limit 1) as victim`,
  );
  return rows.length;
}

/** Terminates tasks' sessions. The same process must retry and succeed. */
async function terminateTasks(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  await using work = await Workload.create(tally, { tasks: 20, pauseMs: 8 });
  while (tally.injections < TERMINATIONS && !shard.isOver()) {
    const runId = await work.newRun();
    const state = { isRunning: true };
    const run = runHere(work, runId, { random: () => random.next() }).finally(
      () => (state.isRunning = false),
    );
    const until = tally.injections + TERMINATIONS_A_RUN;
    while (state.isRunning && tally.injections < until) {
      await sleep(random.between(1, 15));
      if (state.isRunning) tally.injections += await terminate(work, TASKS);
    }
    const ended = await run;
    if (ended instanceof Error || ended.state !== 'success')
      tally.addProblem(`${runId} did not succeed by itself: ${formatReason(ended)}`);
    await work.check(runId, { isDone: !(ended instanceof Error) && ended.state === 'success' });
  }
}

/** Terminates any session. A run that loses its lock gives up, so the test resumes the run. */
async function terminateAny(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  await using work = await Workload.create(tally, { pauseMs: 8 });
  while (tally.injections < ANY_TERMINATIONS && !shard.isOver()) {
    const runId = await work.newRun();
    const state = { isRunning: true };
    const run = resumeHere(work, runId, { tally, random: () => random.next() }).finally(
      () => (state.isRunning = false),
    );
    while (state.isRunning && tally.injections < ANY_TERMINATIONS) {
      await sleep(random.between(30, 160));
      if (state.isRunning) tally.injections += await terminate(work, ANY);
    }
    await run;
    await work.check(runId);
  }
}

/** Hits the COMMITs of tasks. The same process must find out whether the COMMITs took effect, and succeed. */
async function breakTaskCommits(shard: Shard, fault: CommitFault): Promise<void> {
  const { tally, random } = shard;
  const { port } = await cluster();
  await using work = await Workload.create(tally, { pauseMs: 0 });
  await work.install();
  let commits = 0;
  await using proxy = await commitProxy(port, fault, {
    // The COMMIT after the COMMITs of the tasks belongs to the run.
    isHit: () => ++commits <= work.tasks && tally.injections < CUTS && random.next() < 0.4,
    lateByMs: () => random.between(20, 400),
    onCut: () => tally.injections++,
  });
  const url = buildProxyUrl(work, port, proxy);
  while (tally.injections < CUTS && !shard.isOver() && !work.isStalled) {
    const runId = await work.newRun();
    commits = 0;
    const ended = await runHere(work, runId, { url, random: () => random.next() });
    const isDone = !(ended instanceof Error) && ended.state === 'success';
    if (!isDone) tally.addProblem(`${runId} did not succeed by itself: ${formatReason(ended)}`);
    await work.check(runId, { isDone });
  }
}

/** Hits the COMMIT that installs the ledger, and the COMMIT that records the end of a run. */
async function breakRunCommits(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  const { port } = await cluster();
  await using work = await Workload.create(tally, { tasks: 3, rows: 4, pauseMs: 0 });
  for (const fault of ['answer lost', 'never sent', 'delivered late', 'session left open'] as const) {
    for (const which of ['install', 'close'] as const) {
      if (which === 'install') await work.db.query('drop schema if exists etl cascade');
      await using proxy = await commitProxy(port, fault, {
        isHit: (commit) => commit === (which === 'install' ? 1 : work.tasks + 1),
        onCut: () => tally.injections++,
      });
      const runId = await work.newRun();
      await runHere(work, runId, { url: buildProxyUrl(work, port, proxy) });
      const isDone = await resumeHere(work, runId, { tally, random: () => random.next() });
      await work.check(runId, { isDone });
      if (proxy.cuts === 0) tally.addProblem(`${which}: no COMMIT was hit`);
    }
  }
}

function buildProxyUrl({ db }: Workload, port: number, proxy: CommitProxy): string {
  return db.url.replace(`:${port}/`, `:${proxy.port}/`);
}

/**
 * Kills a process whose transaction stays open on the server. The process that resumes the run does not know the
 * transaction.
 */
async function leaveSessionAndKill(shard: Shard): Promise<void> {
  const { tally, random } = shard;
  const { port } = await cluster();
  await using work = await Workload.create(tally, { tasks: 6 });
  await work.install();
  while (tally.injections < ORPHANS && !shard.isOver() && !work.isStalled) {
    const runId = await work.newRun();
    const which = 2 + random.below(3);
    await using proxy = await commitProxy(port, 'session left open', {
      isHit: (commit) => commit === which,
    });
    const url = buildProxyUrl(work, port, proxy);
    let isFirst = true;
    const isDone = await untilDone(shard, work, {
      runId,
      options: () => (isFirst ? { env: { ETL_CONN_DB: url } } : {}),
      inject: async (running) => {
        if (!isFirst) return;
        isFirst = false;
        while (proxy.cuts === 0 && running.child.exitCode === null) await sleep(1);
        if (strike(running, 'SIGKILL')) tally.injections++;
      },
    });
    await work.check(runId, { isDone });
  }
}
