import { constants } from 'node:os';
import { describeThrown, EtlError, EXIT } from '../../errors.js';
import { taskScope } from '../../runtime/tasks/task-scope.js';

/** A signal that stops a run. */
export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

const SIGNALS: readonly StopSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** The guard of a process during a run. */
export interface Guard {
  /** Is aborted with ETL-3302 on the first stop signal. A second stop signal ends the process at once. */
  readonly signal: AbortSignal;
  /** Returns the signal that stopped the run, or undefined. */
  readonly stoppedBy: () => StopSignal | undefined;
  /** The unhandled errors that belong to no running task. */
  readonly unhandledErrors: readonly EtlError[];
  /** Removes the listeners and restores `process.exit`. */
  dispose(): void;
}

/** Returns the exit code of a process that a signal has stopped: 128 plus the number of the signal. */
export function getSignalExitCode(signal: StopSignal): number {
  return 128 + constants.signals[signal];
}

/**
 * Guards the process during a run, until `dispose` is called. Adds listeners to the process, and replaces
 * `process.exit`.
 *
 * - The first stop signal aborts `signal`. The second one ends the process at once.
 * - An unhandled error fails the task whose code caused the error.
 * - `process.exit` throws ETL-3007 in a task.
 * - If the process exits during the run nevertheless, the exit code is `EXIT.bug`, so an unfinished run never exits
 *   with 0.
 */
export function guardProcess(): Guard {
  const controller = new AbortController();
  const unhandledErrors: EtlError[] = [];
  let stoppedBy: StopSignal | undefined;
  const realExit = process.exit.bind(process);
  const onSignal = (signal: StopSignal): void => {
    if (stoppedBy !== undefined) {
      // This is the second signal. The listener would replace the exit code of the signal by `EXIT.bug`.
      process.removeListener('exit', onExit);
      realExit(getSignalExitCode(signal));
    }
    stoppedBy = signal;
    const what = `the run was stopped by ${signal}`;
    const data = 'tasks that had ended are committed; the other tasks wrote nothing';
    controller.abort(new EtlError('ETL-3302', { what, data }));
  };
  const onUnhandled = (error: unknown): void => reportUnhandledError(error, unhandledErrors);
  const onExit = (): void => {
    process.exitCode = EXIT.bug;
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  process.on('unhandledRejection', onUnhandled);
  process.on('uncaughtException', onUnhandled);
  process.on('exit', onExit);
  // Code of a task runs in the scope of the task, so the store is set only there.
  process.exit = (code?: number | string | null) =>
    taskScope.getStore() ? refuseExit(code) : realExit(code);
  return {
    signal: controller.signal,
    stoppedBy: () => stoppedBy,
    unhandledErrors,
    dispose() {
      for (const signal of SIGNALS) process.removeListener(signal, onSignal);
      process.removeListener('unhandledRejection', onUnhandled);
      process.removeListener('uncaughtException', onUnhandled);
      process.removeListener('exit', onExit);
      process.exit = realExit;
    },
  };
}

/**
 * Fails the running task whose code caused an unhandled error. If no task caused it, or if the task has ended, adds the
 * error to `unhandledErrors` instead.
 */
function reportUnhandledError(error: unknown, unhandledErrors: EtlError[]): void {
  // The run already reports a query that was sent after its session had ended.
  if (error instanceof EtlError && error.code === 'ETL-3206') return;
  const scope = taskScope.getStore();
  const unhandled = createUnhandledError(error, scope && `started by task "${scope.taskId}"`);
  if (scope?.fail(unhandled) !== true) unhandledErrors.push(unhandled);
}

/** Creates the error for an error that no code catches. `where` says what started the code. */
export function createUnhandledError(error: unknown, where?: string): EtlError {
  return new EtlError('ETL-3006', {
    what: `unhandled error: ${describeThrown(error)}`,
    where,
    why: 'the code rejected a promise that nobody awaits, or threw in a callback',
    fix: 'await every promise that the code starts',
    cause: error,
  });
}

/** Throws the error of a task that calls `process.exit`. */
function refuseExit(code: number | string | null | undefined): never {
  throw new EtlError('ETL-3007', {
    what: `a task must not call process.exit(${code ?? ''})`,
    why: 'the run may have other open tasks',
    fix: 'throw an error or FailTask to fail the task',
  });
}
