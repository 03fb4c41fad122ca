import { didYouMean, EtlError } from '../../errors.js';

/**
 * Creates the error ETL-2002 for the ID of a Dag that the config does not have. `known` lists the IDs of all Dags of
 * the config. `data` is the state of the user's data, as in `ErrorParts`.
 */
export function createUnknownDagError(id: string, known: readonly string[], data?: string): EtlError {
  const command = /^(load|unload|transfer|sql)\../.exec(id)?.[1];
  return new EtlError('ETL-2002', {
    what: `there is no Dag "${id}"${didYouMean(id, known)}`,
    why:
      command === undefined
        ? undefined
        : `if it was run by \`etl ${command}\`, the config does not have it: repeat the command \`etl ${command} …\` with --resume`,
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
