import { didYouMean, EtlError } from '../../errors.js';
import type { Program } from './program.js';
import { homeOf, planTasks } from '../../runtime/dag/plan.js';

/** Where the runs of a Dag are recorded. */
export interface DagPlaces {
  readonly taskIds: readonly string[];
  /** Undefined for a Dag without a connection: nothing of it is recorded. */
  readonly home: string | undefined;
  /** The connections that its tasks write to, and its home. */
  readonly connectionIds: readonly string[];
}

/** The places of every Dag of the config, by its ID. */
export type Places = ReadonlyMap<string, DagPlaces>;

export function placesOf({ loaded }: Program): Places {
  const { dags, defaults } = loaded.config;
  return new Map(
    dags.map((dag) => {
      const tasks = planTasks(dag, defaults);
      const home = homeOf(dag, defaults, tasks);
      const used = distinct([home, ...tasks.map(({ conn }) => conn)]);
      return [dag.id, { taskIds: tasks.map(({ id }) => id), home, connectionIds: used }];
    }),
  );
}

/** The home of one Dag; of all where none is given, or where the config does not have it any more. */
export function homesOf(places: Places, dagId: string | undefined): readonly string[] {
  const one = dagId === undefined ? undefined : places.get(dagId);
  return distinct(one ? [one.home] : [...places.values()].map(({ home }) => home));
}

/** The connections that the tasks of a run may be recorded in, which was found in one of them. */
export function recordedIn(places: Places, dagId: string, foundIn: string): readonly string[] {
  return distinct([foundIn, ...(places.get(dagId)?.connectionIds ?? [])]);
}

/** Every connection that has a ledger, or will have one. */
export function ledgerConnections(places: Places): readonly string[] {
  return distinct([...places.values()].flatMap(({ connectionIds }) => connectionIds));
}

/** The error for a Dag that neither the config nor a ledger knows. */
export function unknownDag(places: Places, id: string): EtlError {
  const ids = [...places.keys()];
  return new EtlError('ETL-2002', {
    what: `there is no Dag "${id}", and no run of it${didYouMean(id, ids)}`,
    fix: ids.length === 0 ? 'the config has no Dags: add them to `dags`' : `the Dags are ${ids.join(', ')}`,
  });
}

function distinct(ids: readonly (string | undefined)[]): readonly string[] {
  return [...new Set(ids.filter((id) => id !== undefined))];
}
