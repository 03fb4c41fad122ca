import { Args, Flags } from '@oclif/core';
import { randomBytes, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { connFlag, EtlCommand } from '../command.js';
import { didYouMean, EtlError, EXIT } from '../errors.js';
import { guardProcess, signalExitCode, type Guard } from '../guard.js';
import { maskedPlace } from '../hooks/connection.js';
import { hookOf } from '../hooks/index.js';
import type { Program } from '../program.js';
import type { LoadedConfig } from '../runtime/config/load.js';
import type { Dag } from '../runtime/dag.js';
import { parseDuration } from '../runtime/duration.js';
import type { Reporter, RunEvent } from '../runtime/event.js';
import { intervalContaining, lastCompleteInterval } from '../runtime/interval.js';
import { parseParamFlag, resolveParams } from '../runtime/params.js';
import { homeOf, planTasks, type RunPlan } from '../runtime/plan.js';
import { ndjsonReporter, resultJson } from '../runtime/report/ndjson.js';
import { plainReporter } from '../runtime/report/plain.js';
import { errorLines } from '../runtime/report/words.js';
import { runDag, type RunResult } from '../runtime/run.js';

const DEFAULT_CONCURRENCY = 4;

type RunFlags = Awaited<ReturnType<RunCommand['parseFlags']>>['flags'];

export class RunCommand extends EtlCommand {
  static override summary = 'Run a Dag once.';
  static override description = `Each task is one transaction that also records that the task ran.

Exit codes: 0 success, 1 a task failed, 2 nothing was started (usage, config), 3 a data check failed and nothing else,
69 the database can't be reached, 75 another run of the Dag holds the lock, 124 the run timed out,
130 and 143 stopped by SIGINT and SIGTERM.`;
  static override examples = [
    '<%= config.bin %> run monthly-report',
    '<%= config.bin %> run monthly-report --date 2026-03-05 --param region=eu',
    'ETL_CONN_MY_DB=postgres://… <%= config.bin %> run monthly-report --quiet',
  ];
  static override args = { dag: Args.string({ description: 'The ID of the Dag.', required: true }) };
  static override flags = {
    param: Flags.string({
      char: 'p',
      description: 'A param of the Dag.',
      helpValue: 'name=value',
      multiple: true,
      multipleNonGreedy: true,
    }),
    conn: connFlag,
    date: Flags.string({
      description: 'Run the data interval that contains this date, instead of the last complete one.',
    }),
    concurrency: Flags.integer({
      char: 'c',
      description: `How many tasks run at once. [default: ${DEFAULT_CONCURRENCY}]`,
      min: 1,
    }),
    timeout: Flags.string({ description: 'For the whole run: 30s, 10m, 2h.' }),
    'fail-fast': Flags.boolean({ description: 'Start no new task once one has failed.' }),
    reporter: Flags.string({
      description: 'How to show the run.',
      options: ['plain', 'ndjson'],
      default: 'plain',
    }),
    quiet: Flags.boolean({
      char: 'q',
      description: 'Say nothing of a run that succeeds; of one that fails say everything.',
    }),
  };

  override async run(): Promise<void> {
    const { args, flags } = await this.parseFlags();
    const program = await this.program(flags);
    const plan = await planRun(program.loaded, args.dag, flags);
    assertConnections(plan, program);
    const guard = guardProcess();
    try {
      const result = await this.#run(plan, program, flags, guard);
      this.#finish(result, guard, flags);
    } finally {
      guard.dispose();
    }
  }

  parseFlags() {
    return this.parse(RunCommand);
  }

  #run(plan: RunPlan, program: Program, flags: RunFlags, guard: Guard): Promise<RunResult> {
    const { loaded, lookup } = program;
    const concurrency = flags.concurrency ?? loaded.config.concurrency ?? DEFAULT_CONCURRENCY;
    const reporter = this.#reporter(flags);
    const notice = (text: string): void =>
      reporter.report({ at: new Date(), runId: plan.runId, dagId: plan.dag.id, type: 'notice', text });
    for (const text of program.environment.notices) notice(text);
    return runDag(plan, {
      openDatabase: (id) => program.open(lookup.find(id), { concurrency, notice }),
      reporter,
      signal: guard.signal,
      random: Math.random,
      process: { pid: process.pid, host: hostname(), version: this.config.version, holder: randomUUID() },
      root: loaded.directory,
      connections: (prefix) => lookup.ids(prefix),
      placeOf: (id) => maskedPlace(lookup.find(id)),
      lanesOf: (id) => program.lanesOf(lookup.find(id), concurrency),
      concurrency,
      failFast: flags['fail-fast'],
      timeoutMs:
        flags.timeout === undefined ? loaded.config.timeoutMs : parseDuration(flags.timeout, '--timeout'),
    });
  }

  #reporter({ reporter, quiet, color, json }: RunFlags): Reporter {
    const shown =
      reporter === 'ndjson'
        ? ndjsonReporter((text) => this.out(text))
        : plainReporter({ write: (text) => this.err(text), paint: this.paint(color, 'stderr'), quiet });
    if (!json || reporter === 'ndjson') return shown;
    return {
      report: (event: RunEvent) => {
        shown.report(event);
        if (event.type === 'run_finished') this.printJson(resultJson(event));
      },
    };
  }

  #finish(result: RunResult, guard: Guard, { color }: RunFlags): void {
    const signal = guard.stoppedBy();
    const paint = this.paint(color, 'stderr');
    for (const stray of guard.strays) this.err(`${errorLines(stray, paint).join('\n')}\n`);
    if (signal !== undefined) process.exitCode = signalExitCode(signal);
    else process.exitCode = guard.strays.length > 0 ? EXIT.taskFailed : exitCodeOf(result);
  }
}

/** The exit code of a run that no signal has stopped. */
export function exitCodeOf({ state, tasks, errors }: RunResult): number {
  if (errors.some(({ code }) => code === 'ETL-3303')) return EXIT.timeout;
  if (state === 'success') return EXIT.success;
  const failures = tasks.filter((task) => task.state === 'failed').map(({ error }) => error?.exitCode);
  const onlyChecks = errors.length === 0 && failures.every((code) => code === EXIT.checkFailed);
  return onlyChecks ? EXIT.checkFailed : EXIT.taskFailed;
}

async function planRun({ config }: LoadedConfig, dagId: string, flags: RunFlags): Promise<RunPlan> {
  const dag = findDag(config.dags, dagId);
  const tasks = planTasks(dag, config.defaults);
  const now = new Date();
  const interval =
    flags.date === undefined
      ? lastCompleteInterval(dag.schedule, now)
      : intervalContaining(dag.schedule, flags.date, now);
  const params = await resolveParams(dag.options.params, givenParams(flags.param ?? []));
  return { runId: newRunId(now), dag, tasks, home: homeOf(dag, config.defaults, tasks), interval, params };
}

function givenParams(values: readonly string[]): Readonly<Record<string, string>> {
  const given = new Map<string, string>();
  for (const [name, value] of values.map(parseParamFlag)) {
    if (given.has(name)) throw new EtlError('ETL-2001', { what: `--param ${name}=… is given twice` });
    given.set(name, value);
  }
  return Object.fromEntries(given);
}

function findDag(dags: readonly Dag[], id: string): Dag {
  const dag = dags.find((each) => each.id === id);
  if (dag !== undefined) return dag;
  const ids = dags.map((each) => each.id);
  throw new EtlError('ETL-2002', {
    what: `there is no Dag "${id}"${didYouMean(id, ids)}`,
    fix: ids.length === 0 ? 'the config has no Dags: add them to `dags`' : `the Dags are ${ids.join(', ')}`,
    data: 'nothing was started',
  });
}

/** A connection that nothing defines, or that no hook opens, is an error before anything is started. */
function assertConnections({ tasks }: RunPlan, { lookup }: Program): void {
  const ids = new Set(tasks.map(({ conn }) => conn).filter((conn) => conn !== undefined));
  for (const id of ids) hookOf(lookup.find(id));
}

/** Sorts by time, and no two are equal: `20261122T020000Z-9f3a6c1e`. */
function newRunId(now: Date): string {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, '');
  return `${time}-${randomBytes(4).toString('hex')}`;
}
