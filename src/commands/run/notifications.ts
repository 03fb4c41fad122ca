import { EtlError } from '../../errors.js';
import { DEFAULT_ZONE } from '../../runtime/interval/zone-time.js';
import { formatResumeCommand } from '../../runtime/report/command-line.js';
import type { RunEvent, RunFinished, RunStarted } from '../../runtime/report/event.js';
import { parsePingUrl, Pinger } from '../../runtime/report/ping.js';
import {
  type FilePosition,
  parsePosition,
  type RepositoryPosition,
  toRepositoryPosition,
} from '../../runtime/report/run-location.js';
import { type Failure, formatSummary, type RunReport } from '../../runtime/report/run-report.js';
import type { LoadedConfig } from '../../runtime/config/load.js';
import type { Dag } from '../../runtime/dag/dag.js';
import { collectResults } from '../../runtime/dag/results.js';
import { callBack } from '../../runtime/run/callbacks.js';
import type { RunResult } from '../../runtime/run/run.js';
import type { RunRequest } from '../../runtime/run/start.js';
import { getLocationFrame } from '../../runtime/modules/location.js';
import { findCiTargets, reportToCi } from './ci-report.js';
import { PING_VARIABLE } from '../../runtime/secrets/learned-secrets.js';

type Variables = Readonly<Record<string, string | undefined>>;

/** The end of a call of `etl run`. */
export interface CallEnd {
  readonly exitCode: number;
  /** The error that kept the run from starting, if there is one. */
  readonly error: EtlError | undefined;
  /** True if the notifications may contain values of rows. */
  readonly showsRowData: boolean;
}

/** The services that `Notifications` gets from the command. */
export interface NotificationServices {
  /** The words of the command line. */
  readonly argv: readonly string[];
  readonly variables: Variables;
  /** Takes one line that a person should read. */
  readonly notice: (text: string) => void;
  /** Writes lines that a CI system obeys. */
  readonly command: (text: string) => void;
}

/**
 * Tells others how one call of `etl run` went. Knows the call from its command line, because a call whose flags are wrong
 * must be told, too. Never changes the exit code; what can't be told is a notice.
 */
export class Notifications {
  readonly #services: NotificationServices;
  readonly #startedAt = performance.now();
  #dagId: string | undefined;
  #dag: Dag | undefined;
  #config: LoadedConfig | undefined;
  /** The run, once its command line and its config are known to be right. */
  #request: RunRequest | undefined;
  #result: RunResult | undefined;
  #pinger: Pinger | undefined;
  #started: (RunEvent & RunStarted) | undefined;
  #finished: (RunEvent & RunFinished) | undefined;
  #isSkipped = false;

  constructor(services: NotificationServices) {
    this.#services = services;
  }

  /** Takes the Dag of the command line. Throws ETL-2001 if `--ping` or ETL_PING_URL is no URL. */
  setDag(dagId: string | undefined): void {
    this.#dagId = dagId;
    const [name, text] = this.#findPingUrl();
    if (text === undefined || parsePingUrl(text, dagId ?? '') !== undefined) return;
    throw new EtlError('ETL-2001', {
      what: `${name} is not a URL that begins with https:// or http://`,
      fix: 'copy the ping URL of the check, such as https://hc-ping.com/<uuid>',
      data: 'nothing was started',
    });
  }

  /** Takes the settings of the config, over which flags and variables win, and the Dag. */
  setConfig(loaded: LoadedConfig): void {
    this.#config = loaded;
    this.#dag = loaded.config.dags.find(({ id }) => id === this.#dagId);
    this.setDag(this.#dagId);
  }

  /** Takes the run. From now on, `onFailure` is called if the run fails or can't start. */
  setRequest(request: RunRequest): void {
    this.#request = request;
  }

  /** Takes the result of a run that has started. */
  setResult(result: RunResult): void {
    this.#result = result;
  }

  /** Learns from the events of the run. Never throws. */
  observe(event: RunEvent): void {
    if (event.type === 'run_finished') this.#finished = event;
    if (event.type !== 'run_started') return;
    this.#started = event;
    this.#pinger = this.#createPinger();
    this.#pinger?.start();
  }

  /** Says that the call did nothing, because another run is running. That run sends its own notifications. */
  skip(): void {
    this.#isSkipped = true;
  }

  /** Sends the notifications about the end. Waits for them, each within a limit. */
  async end(end: CallEnd): Promise<void> {
    if (this.#isSkipped) return;
    const report = this.#createReport(end);
    await this.#reportToCi(report, end.showsRowData);
    this.#pinger ??= this.#createPinger();
    const pinging = this.#pinger?.end(end.exitCode, formatSummary(report, end.showsRowData));
    for (const { message, why } of await this.#callBack(end))
      this.#services.notice(`${message}${why === undefined ? '' : ` (${why})`}; the run is not affected`);
    await pinging;
  }

  /** Calls the functions of the Dag and of the config. Returns the errors of those that have failed. */
  async #callBack({ exitCode, error, showsRowData }: CallEnd): Promise<readonly EtlError[]> {
    const request = this.#request;
    const config = this.#config?.config;
    if (request === undefined || config === undefined) return [];
    const { dag, home } = request;
    const { callbacks, callbackTimeoutMs: timeoutMs } = config;
    const result = this.#result && {
      ...this.#result,
      exitCode,
      results: collectResults(dag, this.#result.results),
      reportError: undefined,
      callbackErrors: [],
    };
    const durationMs = performance.now() - this.#startedAt;
    return callBack(
      { dag, home, exitCode, result, error, durationMs },
      { callbacks, of: 'the config', timeoutMs, showsRowData },
    );
  }

  async #reportToCi(report: RunReport, showsRowData: boolean): Promise<void> {
    const { argv, variables, command, notice } = this.#services;
    const directory = readWorkingDirectory();
    const targets = findCiTargets(findFlag(argv, '--code-quality'), variables, directory);
    if (!targets.annotates && targets.codeQuality === undefined) return;
    const place = (position: FilePosition): RepositoryPosition =>
      toRepositoryPosition(position, targets.root, directory);
    const locate = ({ taskId, error }: Failure): RepositoryPosition | undefined => {
      const task = taskId === undefined ? this.#dag : this.#dag?.tasks.find(({ id }) => id === taskId);
      const position = (task && getLocationFrame(task.location)) ?? parsePosition(error.where);
      return position && place(position);
    };
    const file = place({ file: this.#config?.file ?? 'etl.config.ts', line: 1, column: 1 }).path;
    await reportToCi(report, targets, { locate, file, showsRowData, command, notice });
  }

  #createReport({ exitCode, error }: CallEnd): RunReport {
    const finished = this.#finished ?? this.#createUnfinished();
    const { runId, interval, timezone = DEFAULT_ZONE, home } = this.#started ?? {};
    const canResume = runId !== undefined && home !== undefined && finished.state === 'failed';
    return {
      ...finished,
      dagId: this.#dagId,
      runId,
      exitCode,
      interval,
      timezone,
      errors: error === undefined ? finished.errors : [error, ...finished.errors],
      resume: canResume ? formatResumeCommand(this.#dagId ?? '', runId) : undefined,
    };
  }

  /** Returns the facts of a run that has not got to its end. */
  #createUnfinished(): Omit<RunFinished, 'type'> {
    const durationMs = performance.now() - this.#startedAt;
    return { state: 'failed', tasks: [], errors: [], durationMs };
  }

  #createPinger(): Pinger | undefined {
    const [, text] = this.#findPingUrl();
    const url = text === undefined ? undefined : parsePingUrl(text, this.#dagId);
    return url && new Pinger(url, this.#services.notice);
  }

  /**
   * Finds the URL to ping, and what names it. Reads the words of the command line themselves: the flags may be wrong. An
   * empty text is no URL.
   */
  #findPingUrl(): readonly [name: string, text: string | undefined] {
    const { argv, variables } = this.#services;
    const flag = findFlag(argv, '--ping');
    if (flag !== undefined) return ['--ping', flag];
    const variable = variables[PING_VARIABLE];
    return variable ? [PING_VARIABLE, variable] : ['`ping` of the config', this.#config?.config.ping];
  }
}

/** Returns the last value of a flag in the words of a command line. */
function findFlag(argv: readonly string[], name: string): string | undefined {
  return argv
    .flatMap((word, i) => {
      if (word.startsWith(`${name}=`)) return [word.slice(name.length + 1)];
      return argv[i - 1] === name ? [word] : [];
    })
    .at(-1);
}

/** Returns the working directory, or the root directory if the working directory was removed. */
function readWorkingDirectory(): string {
  try {
    return process.cwd();
  } catch {
    return '/'; // `loadProgram` reports this.
  }
}
