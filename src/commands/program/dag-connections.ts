import type { Program } from './program.js';
import { findConnections, planDag } from '../../runtime/dag/plan.js';

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
      const planned = planDag(dag, defaults);
      const taskIds = planned.tasks.map(({ id }) => id);
      return [dag.id, { taskIds, home: planned.home, connectionIds: findConnections(planned).recording }];
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

function distinct(ids: readonly (string | undefined)[]): readonly string[] {
  return [...new Set(ids.filter((id) => id !== undefined))];
}
