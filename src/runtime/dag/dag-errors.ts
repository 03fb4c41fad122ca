import { didYouMean, EtlError } from '../../errors.js';
import { formatLocation, type Location } from '../modules/location.js';

/** Throws `EtlError` ETL-2303 if the function of a task is missing. */
export function assertFunction(id: string, run: unknown, location: Location): void {
  if (typeof run === 'function') return;
  throw new EtlError('ETL-2303', {
    what: `task "${id}" has no function`,
    where: formatLocation(location),
    fix: 'pass an async function as the third argument',
  });
}

/** Creates the error ETL-2301 for an ID that two tasks of a Dag have. `first` is the location of the first task. */
export function createDefinedTwiceError(id: string, location: Location, first: Location): EtlError {
  return new EtlError('ETL-2301', {
    what: `the task ID "${id}" is used twice`,
    where: `${formatLocation(location)}, and first at ${formatLocation(first)}`,
    fix: 'give one of the tasks another ID',
  });
}

/** Creates the error ETL-2307 for a task that is added after the callback of `dag()` has returned. */
export function createDefinedLateError(id: string, location: Location): EtlError {
  return new EtlError('ETL-2307', {
    what: `the task "${id}" was added after its Dag was defined`,
    where: formatLocation(location),
    why: 'tasks must be added synchronously inside the callback of `dag()`',
    fix: 'add the task before the callback returns; an async callback returns at its first `await`',
  });
}

/** Creates the error ETL-2302 for a task that needs a task of another Dag. `name` is the name in `needs`. */
export function createForeignTaskError(id: string, name: string, location: Location): EtlError {
  return new EtlError('ETL-2302', {
    what: `task "${id}" needs "${name}", which is not a task of the same Dag`,
    where: formatLocation(location),
    fix: 'pass the value that a method of `d` returned inside this Dag',
  });
}

/**
 * Creates the error ETL-2002 for the ID of a Dag that the config does not have. `known` lists the IDs of all Dags of
 * the config. `data` is the state of the user's data, as in `ErrorParts`.
 */
export function createUnknownDagError(id: string, known: readonly string[], data?: string): EtlError {
  return new EtlError('ETL-2002', {
    what: `there is no Dag "${id}"${didYouMean(id, known)}`,
    fix:
      known.length === 0 ? 'the config has no Dags: add them to `dags`' : `the Dags are ${known.join(', ')}`,
    data,
  });
}

/**
 * Creates the error ETL-2004 for the ID of a task that a Dag does not have. `known` lists the IDs of all tasks of the
 * Dag. `data` is the state of the user's data, as in `ErrorParts`.
 */
export function createUnknownTaskError(
  { dagId, taskId }: { readonly dagId: string; readonly taskId: string },
  known: readonly string[],
  data: string,
): EtlError {
  return new EtlError('ETL-2004', {
    what: `"${dagId}" has no task "${taskId}"${didYouMean(taskId, known)}`,
    fix: 'run `etl list` to see the tasks of each Dag',
    data,
  });
}
