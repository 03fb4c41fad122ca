import { constants } from 'node:os';
import { describeThrown, EtlError, EXIT } from '../../errors.js';
import { taskScope } from '../../runtime/tasks/task-scope.js';

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

const SIGNALS: readonly StopSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Guards a run against what can happen to its process. */
export interface Guard {
  /** Aborts, with an `EtlError`, on the first signal; a second one ends the process at once. */
  readonly signal: AbortSignal;
  /** The signal that came, if any. */
  readonly stoppedBy: () => StopSignal | undefined;
  /** Errors that nobody awaited and that no running task could be blamed for. */
  readonly unhandledErrors: readonly EtlError[];
  /** Puts everything back. */
  dispose(): void;
}

/** The exit code of a program that a signal has stopped. */
export function getSignalExitCode(signal: StopSignal): number {
  return 128 + constants.signals[signal];
}

/**
 * Turns signals into an abort, blames a rejection or an exception that nobody awaits on the task whose code caused it,
 * and keeps a task from ending the process: a run that did not finish never exits with 0.
 */
export function guardProcess(): Guard {
  const controller = new AbortController();
  const unhandledErrors: EtlError[] = [];
  let stoppedBy: StopSignal | undefined;
  const realExit = process.exit.bind(process);
  const onSignal = (signal: StopSignal): void => {
    if (stoppedBy !== undefined) {
      process.removeListener('exit', onExit);
      realExit(getSignalExitCode(signal));
    }
    stoppedBy = signal;
    controller.abort(createStoppedError(signal));
  };
  const onUnhandled = (error: unknown): void => reportUnhandledError(error, unhandledErrors);
  const onExit = (): void => {
    process.exitCode = EXIT.bug;
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  process.on('unhandledRejection', onUnhandled);
  process.on('uncaughtException', onUnhandled);
  process.on('exit', onExit);
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

function reportUnhandledError(error: unknown, unhandledErrors: EtlError[]): void {
  // A query that came too late is reported by its run already.
  if (error instanceof EtlError && error.code === 'ETL-3206') return;
  const scope = taskScope.getStore();
  const unhandled = new EtlError('ETL-3006', {
    what: `an error that nobody awaited: ${describeThrown(error)}`,
    where: scope === undefined ? undefined : `started by task "${scope.taskId}"`,
    why: 'a promise was rejected, or a callback threw, outside of what the task awaits',
    fix: 'await every promise that the task starts',
    cause: error,
  });
  if (scope?.fail(unhandled) !== true) unhandledErrors.push(unhandled);
}

function refuseExit(code: number | string | null | undefined): never {
  throw new EtlError('ETL-3007', {
    what: `process.exit(${code ?? ''}) is not for a task to call`,
    why: 'other tasks of the run are still open',
    fix: 'throw an error, or FailTask, to fail',
  });
}

function createStoppedError(signal: StopSignal): EtlError {
  return new EtlError('ETL-3302', {
    what: `the run was stopped by ${signal}`,
    data: 'tasks that had ended are committed; the others wrote nothing',
  });
}
