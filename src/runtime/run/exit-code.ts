import { EXIT } from '../../errors.js';
import type { RunResult } from './run.js';

/**
 * Returns the exit code of a run that no signal has stopped: 124 if the run reached its timeout, 0 if it succeeded, 3
 * if it failed only because checks found rows, else 1.
 */
export function getExitCode({ state, tasks, errors }: Pick<RunResult, 'state' | 'tasks' | 'errors'>): number {
  if (errors.some(({ code }) => code === 'ETL-3303')) return EXIT.timeout;
  if (state === 'success') return EXIT.success;
  const failures = tasks.filter((task) => task.state === 'failed').map(({ error }) => error?.exitCode);
  const onlyChecks = errors.length === 0 && failures.every((code) => code === EXIT.checkFailed);
  return onlyChecks ? EXIT.checkFailed : EXIT.taskFailed;
}
