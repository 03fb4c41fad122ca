import * as Flags from '@oclif/core/flags';
import { randomUUID } from 'node:crypto';
import { EtlCommand } from '../../command.js';
import { EtlError, EXIT } from '../../errors.js';
import { guardProcess, getSignalExitCode, type Guard, type StopSignal } from './guard.js';
import { secrets } from '../../runtime/secrets/secrets.js';
import { readHostName } from '../../runtime/run/host-name.js';
import type { Program } from '../program/program.js';
import { parseDuration } from '../../runtime/duration.js';
import type { Reporter, RunEvent } from '../../runtime/report/event.js';
import { createNdjsonReporter, buildEventJson } from '../../runtime/report/ndjson-reporter.js';
import { createPlainReporter } from '../../runtime/report/plain-reporter.js';
import { createStatusReporter } from '../../runtime/report/status.js';
import { getExitCode } from '../../runtime/run/exit-code.js';
import { createRunConnections } from '../../runtime/run/run-connections.js';
import { DEFAULT_CONCURRENCY, executeRun, type RunResult } from '../../runtime/run/run.js';
import type { RunRequest } from '../../runtime/run/start.js';
import { startWatchdog, type Watchdog } from './watchdog.js';
import { Notifications } from './notifications.js';
import { getCode, setExitCode } from '../program/process-end.js';

const DEFAULT_OVERLAP = 'fail';
export const DEFAULT_MAX_BLOCK = '1m';

/** The flags of all commands that run a Dag. */
export const RUNNING_FLAGS = {
  overlap: Flags.string({
    description:
      'What to do if another run of the Dag is running: fail, skip (exit 0), wait (for 60s) or wait:90s.',
    default: DEFAULT_OVERLAP,
  }),
  timeout: Flags.string({ description: 'The time limit of the whole run, such as 30s, 10m or 2h.' }),
  reporter: Flags.string({
    description: 'How to show the run.',
    options: ['plain', 'ndjson'],
    default: 'plain',
  }),
  ping: Flags.string({
    description:
      'Ping this URL at the start and at the end of the run, as healthchecks.io expects it. The process list shows the value, so prefer ETL_PING_URL.',
    helpValue: 'url',
  }),
  'code-quality': Flags.string({
    description: "Write GitLab's Code Quality report of the run to this file. Default: ETL_CODE_QUALITY.",
    helpValue: 'file',
  }),
  quiet: Flags.boolean({
    char: 'q',
    description: 'Print nothing if the run succeeds. If it fails, print everything.',
  }),
};

/** The values of the flags that decide how a run is executed and shown. */
export interface RunningFlags {
  readonly overlap: string;
  readonly timeout?: string | undefined;
  readonly reporter: string;
  readonly quiet: boolean;
  readonly 'code-quality'?: string | undefined;
  readonly json: boolean;
  readonly color?: boolean | undefined;
  readonly 'show-data'?: boolean | undefined;
  readonly concurrency?: number | undefined;
  readonly 'fail-fast'?: boolean | undefined;
  readonly 'max-block'?: string | undefined;
}

/** The base class of the commands that run a Dag: the report, the guard of the process, the exit code. */
export abstract class RunningCommand extends EtlCommand {
  protected override readonly isDataCommand = false;
  /** The lines that the config has printed. With `--quiet`, they are shown only if the run fails. */
  readonly #printed: string[] = [];
  /** The signal that stopped the run before its first task. `catch` needs it for the exit code. */
  #stoppedBy: StopSignal | undefined;
  /** Shows a line that is not about a task in the report of the run. */
  #notice = (text: string): void => this.err(`note: ${text}\n`);
  /** The events that came before the ID of a resumed run was known. */
  readonly #held: RunEvent[] = [];
  /** The first error of the report itself. The run goes on without the report. */
  #reportError: EtlError | undefined;
  /** The guard of the process, from the moment when the command line and the config are known to be right. */
  #guard: Guard | undefined;
  /** The error that kept the run from starting. */
  #startError: EtlError | undefined;
  /** Tells others about the end of the call. */
  protected readonly notifications = new Notifications({
    argv: this.argv,
    variables: process.env,
    notice: (text) => this.#notice(text),
    command: this.stderr.command,
  });

  /** Runs what the request says, and sets the exit code of the process. */
  protected async execute(request: RunRequest, program: Program, flags: RunningFlags): Promise<void> {
    this.notifications.setRequest(request);
    const guard = (this.#guard = guardProcess());
    const maxBlock = parseDuration(flags['max-block'] ?? DEFAULT_MAX_BLOCK, '--max-block');
    const watchdog = startWatchdog(maxBlock, (text) => this.#notice(text));
    try {
      this.#finish(await this.#run(request, program, { flags, guard, watchdog }), guard, flags);
    } catch (error) {
      this.#stoppedBy = guard.stoppedBy();
      // The run did not start, so no report has shown them.
      for (const event of this.#held.splice(0))
        if (event.type === 'notice') this.err(`note: ${event.text}\n`);
      const isLocked = error instanceof EtlError && error.code === 'ETL-7501';
      if (!isLocked || flags.overlap !== 'skip') throw error;
      this.notifications.skip();
      if (!flags.quiet) this.err(`skipped: ${error.message}\n`);
    } finally {
      guard.endRun();
      watchdog.dispose();
    }
  }

  /** Reports an error that ended the run before its first task. After a signal, the exit code is the signal's. */
  protected override async catch(thrown: Error): Promise<void> {
    for (const line of this.#printed.splice(0)) super.print(line);
    await super.catch(addDataState(thrown));
    if (this.#stoppedBy !== undefined) setExitCode(getSignalExitCode(this.#stoppedBy));
    this.#startError = this.toShownError(thrown) ?? new EtlError('ETL-9001', { what: thrown.message });
  }

  /** Tells others about the end of the call, also if its flags or its config are wrong. */
  protected override async finally(thrown: Error | undefined): Promise<void> {
    await super.finally(thrown);
    this.#notice = (text) => this.err(`note: ${text}\n`);
    const showsRowData = this.recordsRowData;
    const known = this.#guard?.unhandledErrors.length ?? 0;
    await this.notifications.end({ exitCode: getCode(), error: this.#startError, showsRowData });
    for (const { message } of this.#guard?.unhandledErrors.slice(known) ?? [])
      this.#notice(`after the end of the run: ${message}; the run is not affected`);
    this.#guard?.dispose();
    if (getCode() !== EXIT.success) for (const line of this.#printed.splice(0)) super.print(line);
  }

  protected override print(line: string): void {
    if (this.argv.includes('--quiet') || this.argv.includes('-q')) this.#printed.push(line);
    else super.print(line);
  }

  protected override listRunFlags(flags: RunningFlags): readonly string[] {
    const { concurrency, timeout, overlap, 'max-block': maxBlock, 'fail-fast': failFast } = flags;
    const isGiven = (value: string | undefined, usual?: string): value is string =>
      value !== undefined && value !== usual;
    return [
      ...(concurrency === undefined ? [] : ['--concurrency', String(concurrency)]),
      ...(isGiven(timeout) ? ['--timeout', timeout] : []),
      ...(isGiven(maxBlock, DEFAULT_MAX_BLOCK) ? ['--max-block', maxBlock] : []),
      ...(isGiven(overlap, DEFAULT_OVERLAP) ? ['--overlap', overlap] : []),
      ...(failFast === true ? ['--fail-fast'] : []),
      ...(flags['code-quality'] === undefined ? [] : ['--code-quality', flags['code-quality']]),
      ...(flags['show-data'] === undefined ? [] : [flags['show-data'] ? '--show-data' : '--no-show-data']),
    ];
  }

  /** Runs the Dag with the services of this process: its connections, streams, signals and clock. */
  #run(
    request: RunRequest,
    program: Program,
    { flags, guard, watchdog }: { flags: RunningFlags; guard: Guard; watchdog: Watchdog },
  ): Promise<RunResult> {
    const { loaded, lookup } = program;
    const { debugLog } = this;
    const created = this.#createReporter(flags);
    // A line has no ID of a run.
    const shown = flags.reporter === 'ndjson' ? holdUntilNamed(created, this.#held) : created;
    this.#notice = (text) => reportNotice(text, request, shown);
    const notifications = this.notifications;
    const reporter: Reporter = {
      report(event) {
        watchdog.observe(event);
        notifications.observe(event);
        shown.report(event);
        debugLog?.addEvent(event);
      },
    };
    const concurrency = flags.concurrency ?? loaded.config.concurrency ?? DEFAULT_CONCURRENCY;
    const timeoutMs =
      flags.timeout === undefined ? loaded.config.timeoutMs : parseDuration(flags.timeout, '--timeout');
    for (const text of program.environment.notices) reportNotice(text, request, reporter);
    return executeRun(request, {
      connections: createRunConnections(lookup, program, concurrency),
      schema: program.ledgerSchema,
      limits: { concurrency, failFast: flags['fail-fast'] ?? false, timeoutMs },
      reporter,
      signal: guard.signal,
      random: Math.random,
      process: { pid: process.pid, host: readHostName(), version: this.config.version, holder: randomUUID() },
      redact: (text) => secrets.mask(text),
      recordsRowData: this.recordsRowData,
      unhandledErrors: () => guard.unhandledErrors,
      onReportFailed: (error) => (this.#reportError ??= error),
      onTasksEnded: () => watchdog.tasksEnded(),
    });
  }

  /**
   * Creates the reporter of the run. `--reporter ndjson` prints each event on stdout. Any other reporter writes lines
   * to stderr; with `--json`, it also prints the result of the run on stdout at the end.
   */
  #createReporter(flags: RunningFlags): Reporter {
    const { reporter, json } = flags;
    const shown =
      reporter === 'ndjson'
        ? createNdjsonReporter(this.stdout.json, this.recordsRowData)
        : this.#createLineReporter(flags);
    if (!json || reporter === 'ndjson') return shown;
    return {
      report: (event: RunEvent) => {
        shown.report(event);
        if (event.type === 'run_finished') this.printJson(buildEventJson(event, this.recordsRowData));
      },
    };
  }

  /** Creates a reporter that writes lines to stderr. In a terminal, it also shows the running tasks below the lines. */
  #createLineReporter({ quiet, color }: RunningFlags): Reporter {
    const write = (text: string): void => this.err(text);
    const lines = createPlainReporter({
      write,
      paint: this.paint(color, 'stderr'),
      quiet,
      showsRowData: this.showsRowData('stderr'),
    });
    // The lines of --debug would be written into the status line.
    if (quiet || this.debugLog !== undefined || !process.stderr.isTTY) return lines;
    const { control } = this.stderr;
    return createStatusReporter(lines, { write, control, columns: () => process.stderr.columns || 80 });
  }

  /**
   * Sets the exit code of a run that has ended: the signal that stopped it decides first, then an unhandled error that
   * came after the end of the run, then the result, then an error of the report. Shows late errors and the error of the
   * report on stderr.
   */
  #finish(result: RunResult, guard: Guard, { color }: RunningFlags): void {
    this.notifications.setResult(result);
    const signal = guard.stoppedBy();
    if (result.state !== 'success') for (const line of this.#printed.splice(0)) super.print(line);
    // The result has the unhandled errors that came before the end of the run.
    const late = guard.unhandledErrors.filter((error) => !result.errors.includes(error));
    for (const error of late) this.printErrors([{ error }], color);
    this.printErrors([{ error: this.#reportError }], color);
    if (signal !== undefined) setExitCode(getSignalExitCode(signal));
    else if (late.length > 0) setExitCode(EXIT.taskFailed);
    else setExitCode(getExitCode(result) || (this.#reportError?.exitCode ?? EXIT.success));
  }
}

/**
 * Adds to an error that ended the command before its first task that nothing was started, unless the error is about the
 * command line or says itself what became of the data.
 */
function addDataState(thrown: Error): Error {
  if (!(thrown instanceof EtlError) || thrown.data !== undefined || thrown.code.startsWith('ETL-20'))
    return thrown;
  const { code, what, where, why, fix, rowData, check, cause } = thrown;
  const data = 'nothing was started';
  return new EtlError(code, { what, where, why, fix, data, rowData, check, cause });
}

/**
 * Wraps a reporter so that it gets the events of a resumed run with the ID of the run. The ID is known only when the run
 * is found in the ledger, so the events before are kept in `held` until then.
 */
function holdUntilNamed(reporter: Reporter, held: RunEvent[]): Reporter {
  return {
    report(event) {
      if (event.runId === '') {
        held.push(event);
        return;
      }
      for (const each of held.splice(0)) reporter.report({ ...each, runId: event.runId });
      reporter.report(event);
    },
  };
}

/** Reports a notice that is known before the run begins. */
function reportNotice(text: string, { dag, start }: RunRequest, reporter: Reporter): void {
  reporter.report({ at: new Date(), runId: start.runId ?? '', dagId: dag.id, type: 'notice', text });
}
