import type { Program } from './program.js';
import { findConnections, planDag } from '../../runtime/dag/plan.js';

/** Where the runs of a Dag are recorded. */
export interface DagConnections {
  readonly taskIds: readonly string[];
  /** Undefined for a Dag without a connection: nothing of it is recorded. */
  readonly home: string | undefined;
  /** The connections that its tasks write to, and its home. */
  readonly connectionIds: readonly string[];
}

/** The places of every Dag of the config, by its ID. */
export type DagConnectionMap = ReadonlyMap<string, DagConnections>;

export function listDagConnections({ loaded }: Program): DagConnectionMap {
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
export function listHomes(places: DagConnectionMap, dagId: string | undefined): readonly string[] {
  const one = dagId === undefined ? undefined : places.get(dagId);
  return removeDuplicates(one ? [one.home] : [...places.values()].map(({ home }) => home));
}

/** The connections that the tasks of a run may be recorded in, which was found in one of them. */
export function listRecordingConnections(
  places: DagConnectionMap,
  dagId: string,
  foundIn: string,
): readonly string[] {
  return removeDuplicates([foundIn, ...(places.get(dagId)?.connectionIds ?? [])]);
}

/** Every connection that has a ledger, or will have one. */
export function listLedgerConnections(places: DagConnectionMap): readonly string[] {
  return removeDuplicates([...places.values()].flatMap(({ connectionIds }) => connectionIds));
}

function removeDuplicates(ids: readonly (string | undefined)[]): readonly string[] {
  return [...new Set(ids.filter((id) => id !== undefined))];
}
