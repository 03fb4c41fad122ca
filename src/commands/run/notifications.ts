import { EtlError } from '../../errors.js';
import { DEFAULT_ZONE } from '../../runtime/interval/zone-time.js';
import { formatResumeCommand } from '../../runtime/report/command-line.js';
import type { RunEvent, RunFinished, RunStarted } from '../../runtime/report/event.js';
import { parsePingUrl, Pinger } from '../../runtime/report/ping.js';
import { formatSummary, type RunReport } from '../../runtime/report/run-report.js';
import { PING_VARIABLE } from '../../runtime/secrets/learned-secrets.js';

type Variables = Readonly<Record<string, string | undefined>>;

/** How a call of `etl run` ended. */
export interface CallEnd {
  readonly exitCode: number;
  /** The error that kept the run from starting, if there is one. */
  readonly error: EtlError | undefined;
  /** True if the notifications may contain values of rows. */
  readonly showsRowData: boolean;
}

/**
 * Tells others how one call of `etl run` went. Knows the call from its command line, because a call whose flags are wrong
 * must be told, too. Never changes the exit code; what can't be told is a notice.
 */
export class Notifications {
  readonly #argv: readonly string[];
  readonly #variables: Variables;
  readonly #notice: (text: string) => void;
  readonly #startedAt = performance.now();
  #dagId: string | undefined;
  #configured: string | undefined;
  #pinger: Pinger | undefined;
  #started: (RunEvent & RunStarted) | undefined;
  #finished: (RunEvent & RunFinished) | undefined;
  #isSkipped = false;

  /** `notice` takes one line that a person should read. */
  constructor(argv: readonly string[], variables: Variables, notice: (text: string) => void) {
    this.#argv = argv;
    this.#variables = variables;
    this.#notice = notice;
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

  /** Takes the setting of the config. A flag and a variable win over it. */
  setConfig({ ping }: { readonly ping: string | undefined }): void {
    this.#configured = ping;
    this.setDag(this.#dagId);
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
    this.#pinger ??= this.#createPinger();
    await this.#pinger?.end(end.exitCode, formatSummary(report, end.showsRowData));
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
    return url && new Pinger(url, this.#notice);
  }

  /**
   * Finds the URL to ping, and what names it. Reads the words of the command line themselves: the flags may be wrong. An
   * empty text is no URL.
   */
  #findPingUrl(): readonly [name: string, text: string | undefined] {
    const flags = this.#argv.flatMap((word, i) =>
      word.startsWith('--ping=') ? [word.slice(7)] : this.#argv[i - 1] === '--ping' ? [word] : [],
    );
    if (flags.length > 0) return ['--ping', flags.at(-1)];
    const variable = this.#variables[PING_VARIABLE];
    return variable ? [PING_VARIABLE, variable] : ['`ping` of the config', this.#configured];
  }
}
