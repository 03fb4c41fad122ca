import { constants } from 'node:os';
import { describeThrown, EtlError } from '../../errors.js';
import { endProcess, setExitCode } from '../program/process-end.js';
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
  /** Says that the run has ended. From now on, the first stop signal ends the process, too. */
  endRun(): void;
  /** Removes the listeners. */
  dispose(): void;
}

/** Returns the exit code of a process that a signal has stopped: 128 plus the number of the signal. */
export function getSignalExitCode(signal: StopSignal): number {
  return 128 + constants.signals[signal];
}

/**
 * Ends the process on a stop signal whenever no run guards it, if the process is the first one of a container: there the
 * kernel ignores a signal without a listener, and the container would stop only when its grace period is over.
 */
export function endOnStopSignals(): void {
  if (process.pid !== 1) return;
  for (const signal of SIGNALS)
    process.on(signal, () => {
      if (isGuarded) return;
      setExitCode(getSignalExitCode(signal));
      endProcess();
    });
}

/** True while `guardProcess` handles the stop signals. */
let isGuarded = false;

/**
 * Guards the process during a run, until `dispose` is called. Adds listeners to the process.
 *
 * - The first stop signal aborts `signal`. The second one ends the process at once.
 * - An unhandled error fails the task whose code caused the error.
 */
export function guardProcess(): Guard {
  const controller = new AbortController();
  const unhandledErrors: EtlError[] = [];
  let stoppedBy: StopSignal | undefined;
  let hasEnded = false;
  const onSignal = (signal: StopSignal): void => {
    if (stoppedBy !== undefined || hasEnded) {
      setExitCode(getSignalExitCode(signal));
      endProcess();
    }
    stoppedBy = signal;
    setExitCode(getSignalExitCode(signal));
    controller.abort(createStoppedError(signal));
  };
  const onUnhandled = (error: unknown): void => reportUnhandledError(error, unhandledErrors);
  isGuarded = true;
  for (const signal of SIGNALS) process.on(signal, onSignal);
  process.on('unhandledRejection', onUnhandled);
  process.on('uncaughtException', onUnhandled);
  return {
    signal: controller.signal,
    stoppedBy: () => stoppedBy,
    unhandledErrors,
    endRun: () => void (hasEnded = true),
    dispose() {
      isGuarded = false;
      for (const signal of SIGNALS) process.removeListener(signal, onSignal);
      process.removeListener('unhandledRejection', onUnhandled);
      process.removeListener('uncaughtException', onUnhandled);
    },
  };
}

/** Creates the error of a run that a signal has stopped. */
function createStoppedError(signal: StopSignal): EtlError {
  return new EtlError('ETL-3302', {
    what: `the run was stopped by ${signal}`,
    why: SENDERS[signal],
    fix: 'resume the run: the tasks that have succeeded are not repeated',
    data: 'tasks that had succeeded are committed; the others wrote nothing',
  });
}

/** The usual sender of each signal. */
const SENDERS: Readonly<Record<StopSignal, string>> = {
  SIGINT: 'Ctrl-C, or another program, sent this signal',
  SIGTERM: 'kill, a scheduler, a container that stops, or a shutdown of the machine sent this signal',
  SIGHUP: 'a terminal or an SSH session was closed, or another program sent this signal',
};

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
  if (error instanceof Error && error.name === 'DeprecationWarning')
    return new EtlError('ETL-3006', {
      what: `unhandled error: ${describeThrown(error)}`,
      where,
      why: 'the option --throw-deprecation of Node.js turns each use of a deprecated function into an error, also in packages',
      fix: 'start etl without this option; NODE_OPTIONS may have it',
      cause: error,
    });
  return new EtlError('ETL-3006', {
    what: `unhandled error: ${describeThrown(error)}`,
    where,
    why: 'the code rejected a promise that nobody awaits, or threw in a callback',
    fix: 'await every promise that the code starts',
    cause: error,
  });
}
