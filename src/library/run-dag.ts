import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { describeThrown, EtlError, EXIT } from '../errors.js';
import { findHook } from '../hooks/index.js';
import { findHomeDirectory } from '../hooks/home-directory.js';
import { ConnectionSet } from '../hooks/connection-set.js';
import type { Variables } from '../hooks/hook.js';
import { createLookup } from '../hooks/lookup.js';
import type { Config } from '../runtime/config/define.js';
import { getDagCode } from '../runtime/dag/dag-code.js';
import type { Dag } from '../runtime/dag/dag.js';
import { findConnections, planDag } from '../runtime/dag/plan.js';
import { collectResults } from '../runtime/dag/results.js';
import type { DagRunResult } from '../runtime/dag/run-end.js';
import { type Duration, parseDuration } from '../runtime/duration.js';
import { nameSchema } from '../runtime/ledger/ledger.js';
import { setRoot } from '../runtime/modules/location.js';
import type { RunEvent } from '../runtime/report/event.js';
import { learnFromPasswordFiles, learnFromVariables } from '../runtime/secrets/learned-secrets.js';
import { secrets } from '../runtime/secrets/secrets.js';
import { callBack } from '../runtime/run/callbacks.js';
import { getExitCode } from '../runtime/run/exit-code.js';
import { readHostName } from '../runtime/run/host-name.js';
import { createRequest, type RunSelection } from '../runtime/run/request.js';
import { createRunConnections } from '../runtime/run/run-connections.js';
import { DEFAULT_CONCURRENCY, executeRun, type RunServices } from '../runtime/run/run.js';

/**
 * Options of `runDag`: what the run covers, and the settings that a config has. A config fits:
 * `runDag(dag, { ...config, params })`.
 */
export interface RunDagOptions
  extends
    RunSelection,
    Pick<
      Config,
      | 'connections'
      | 'defaults'
      | 'ledger'
      | 'concurrency'
      | 'timeout'
      | 'showData'
      | 'onSuccess'
      | 'onFailure'
      | 'callbackTimeout'
    > {
  /** True: no further task is started after a task has failed. Default: false. */
  readonly failFast?: boolean | undefined;
  /**
   * The environment variables that can define connections, such as `ETL_CONN_SHOP` and `PGHOST`. `.env` files are not
   * read. Default: `process.env`.
   */
  readonly variables?: Variables | undefined;
  /** The directory where relative paths of the Dag and of its connections start. Default: the working directory. */
  readonly directory?: string | undefined;
  /**
   * Stands for the code of the Dag's functions, for example the hash of a commit. A resume compares it. Without it, a
   * resume runs the tasks with functions again that another process has done, because their code is not known to be
   * the same.
   */
  readonly codeVersion?: string | undefined;
  /** Stops the run when it aborts: running tasks are rolled back, and the run fails with ETL-3302. */
  readonly signal?: AbortSignal | undefined;
  /** Called for each event of the run, in order. The run does not wait for it. */
  readonly onEvent?: ((event: RunEvent) => void) | undefined;
}

/**
 * Runs a Dag once in this process, as `etl run` does: with the same lock, ledger, transactions and limits. Does not touch
 * the process: it installs no signal handler, prints nothing and sets no exit code. All connections are closed when
 * the promise settles.
 *
 * Throws `EtlError` if the run can't start: for example, an option is wrong, the database can't be reached, or another
 * run has the lock. After the start, every error is a part of the result.
 */
export async function runDag<Defined>(
  dag: Dag<Defined>,
  options: RunDagOptions = {},
): Promise<DagRunResult<Defined>> {
  const { variables = process.env, directory = process.cwd(), connections: settings = {} } = options;
  learnFromVariables(variables);
  learnFromPasswordFiles(variables, { root: directory, home: findHomeDirectory(variables) });
  const environment = { variables, sources: listSources(variables), notices: [] };
  const configName = 'the options of runDag';
  const lookup = createLookup({ flags: {}, environment, config: settings, configName });
  // Fails before the start of the run if a connection is not defined or no hook opens its scheme.
  for (const id of listConnectionIds(dag, options)) findHook(await lookup.load(id));
  const connections = new ConnectionSet({ settings, variables, root: directory, pid: process.pid });
  const startedAt = performance.now();
  const end = (result: DagRunResult | undefined, error?: EtlError): Promise<readonly EtlError[]> =>
    callBack(
      {
        dag,
        home: planDag(dag, options.defaults ?? {}).home,
        exitCode: result?.exitCode ?? error?.exitCode ?? EXIT.bug,
        result,
        error,
        durationMs: performance.now() - startedAt,
      },
      {
        callbacks: options,
        of: configName,
        timeoutMs: parseOptionalDuration(options.callbackTimeout, '`callbackTimeout`'),
        showsRowData: options.showData ?? false,
      },
    );
  let isStarted = false;
  try {
    const result = await runDagOn(dag, options, {
      connections: createRunConnections(lookup, connections, options.concurrency ?? DEFAULT_CONCURRENCY),
      onStart: () => (isStarted = true),
    });
    return { ...result, callbackErrors: await end(result) };
  } catch (error) {
    // Wrong options are a mistake of the caller, who gets the error.
    if (isStarted && error instanceof EtlError) await end(undefined, error);
    throw error;
  }
}

/** Returns the IDs of the connections that a Dag uses. */
export function listConnectionIds(
  dag: Dag,
  { defaults = {} }: Pick<RunDagOptions, 'defaults'>,
): readonly string[] {
  return findConnections(planDag(dag, defaults)).used;
}

/** Runs a Dag like `runDag`, on connections that are found already. */
export async function runDagOn<Defined>(
  dag: Dag<Defined>,
  options: Omit<RunDagOptions, 'connections' | 'variables'>,
  {
    connections,
    beforeCommit,
    onStart,
  }: Pick<RunServices, 'connections' | 'beforeCommit'> & { readonly onStart?: () => void },
): Promise<DagRunResult<Defined>> {
  const { directory = process.cwd(), defaults = {}, onEvent, timeout } = options;
  setRoot(dag.location, directory, getDagCode(options.codeVersion));
  const request = await createRequest(dag, defaults, options, (option) => `\`${option}\``);
  let reportError: EtlError | undefined;
  onStart?.();
  const stop = new AbortController();
  const unlink = linkSignal(options.signal, stop);
  try {
    const { results, ...result } = await executeRun(request, {
      connections,
      schema: nameSchema(options.ledger?.schema),
      limits: {
        concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
        failFast: options.failFast ?? false,
        timeoutMs: parseOptionalDuration(timeout, '`timeout`'),
      },
      reporter: { report: (event) => onEvent?.(event) },
      signal: stop.signal,
      random: Math.random,
      process: { pid: process.pid, host: readHostName(), version: readVersion(), holder: randomUUID() },
      redact: (text) => secrets.mask(text),
      recordsRowData: options.showData ?? false,
      unhandledErrors: () => [],
      onReportFailed: (error) => (reportError ??= error),
      beforeCommit,
    });
    const collected = collectResults(dag, results);
    return { ...result, exitCode: getExitCode(result), results: collected, reportError, callbackErrors: [] };
  } finally {
    unlink();
  }
}

/** Parses a duration that may be absent. */
function parseOptionalDuration(duration: Duration | undefined, name: string): number | undefined {
  return duration === undefined ? undefined : parseDuration(duration, name);
}

/** Returns what sets each variable, for messages. */
function listSources(variables: Variables): ReadonlyMap<string, string> {
  return new Map(Object.keys(variables).map((name) => [name, 'environment']));
}

/**
 * Aborts `stop` with ETL-3302 when the signal of the caller aborts. The caller's reason becomes the cause. Returns a
 * function that removes the listener.
 */
function linkSignal(signal: AbortSignal | undefined, stop: AbortController): () => void {
  const onAbort = (): void => {
    const reason: unknown = signal?.reason;
    const what = `the run was stopped by its signal: ${describeThrown(reason)}`;
    const data = 'tasks that had ended are committed; the other tasks wrote nothing';
    stop.abort(new EtlError('ETL-3302', { what, data, cause: reason }));
  };
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  return () => signal?.removeEventListener('abort', onAbort);
}

/** Reads the version of this package. */
function readVersion(): string {
  const manifest = createRequire(import.meta.url)('@oneshot/etl/package.json') as { version: string };
  return manifest.version;
}
