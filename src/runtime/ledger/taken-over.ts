import { EtlError, type ErrorParts } from '../../errors.js';

/** Creates ETL-7503, the error of a run that is no longer the newest of its Dag. */
export function createTakenOverError(
  dagId: string,
  { why, data }: Pick<ErrorParts, 'why' | 'data'> = {},
): EtlError {
  return new EtlError('ETL-7503', {
    what: `a newer run of the Dag "${dagId}" has taken over`,
    why,
    fix: 'do nothing: the newer run does the work',
    data,
  });
}
