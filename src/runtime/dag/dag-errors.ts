import { didYouMean, EtlError } from '../../errors.js';
import { formatLocation, type Location } from '../modules/location.js';

/** Throws `EtlError` ETL-2303 for a task without its function. */
export function assertFunction(id: string, run: unknown, location: Location): void {
  if (typeof run === 'function') return;
  throw new EtlError('ETL-2303', {
    what: `task "${id}" has no function`,
    where: formatLocation(location),
    fix: 'pass an async function as the third argument',
  });
}

/** For an ID that two tasks of a Dag have. */
export function createDefinedTwiceError(id: string, location: Location, first: Location): EtlError {
  return new EtlError('ETL-2301', {
    what: `the task ID "${id}" is used twice`,
    where: `${formatLocation(location)}, and first at ${formatLocation(first)}`,
    fix: 'give one of the tasks another ID',
  });
}

/** For a task that is defined when its Dag is complete. */
export function createDefinedLateError(id: string, location: Location): EtlError {
  return new EtlError('ETL-2307', {
    what: `the task "${id}" comes after its Dag was defined`,
    where: formatLocation(location),
    why: 'a Dag is known without running anything: its tasks are those of the function that `dag` calls, at once',
    fix: 'define it in that function, before it returns; an async function returns at its first `await`',
  });
}

/** For a task that needs one of another Dag. */
export function createForeignTaskError(id: string, name: string, location: Location): EtlError {
  return new EtlError('ETL-2302', {
    what: `task "${id}" needs "${name}", which is not a task of the same Dag`,
    where: formatLocation(location),
    fix: 'pass the value that a method of `d` returned inside this Dag',
  });
}

/**
 * Makes the error for the ID of a Dag that the config does not have. `known` are the IDs that it has, `data` the state of
 * the user's data.
 */
export function createUnknownDagError(id: string, known: readonly string[], data?: string): EtlError {
  return new EtlError('ETL-2002', {
    what: `there is no Dag "${id}"${didYouMean(id, known)}`,
    fix:
      known.length === 0 ? 'the config has no Dags: add them to `dags`' : `the Dags are ${known.join(', ')}`,
    data,
  });
}

/** Makes the error for the ID of a task that a Dag does not have. `known` and `data` as in `unknownDag`. */
export function createUnknownTaskError(
  { dagId, taskId }: { readonly dagId: string; readonly taskId: string },
  known: readonly string[],
  data: string,
): EtlError {
  return new EtlError('ETL-2004', {
    what: `"${dagId}" has no task "${taskId}"${didYouMean(taskId, known)}`,
    fix: 'etl list lists the tasks of each Dag',
    data,
  });
}
