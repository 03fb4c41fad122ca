import type { Program } from './program.js';
import { createUnknownDagError } from '../../runtime/dag/dag-errors.js';
import { DEFAULT_ZONE } from '../../runtime/interval/zone-time.js';
import { findConnections, planDag } from '../../runtime/dag/plan.js';

/** The tasks of a Dag, and the connections whose ledgers record the Dag's runs. */
export interface DagConnections {
  readonly taskIds: readonly string[];
  /** The time zone of the Dag's schedule. */
  readonly timezone: string;
  /** The home connection. Undefined if the Dag has no connection: then no run of the Dag is recorded. */
  readonly home: string | undefined;
  /** The home connection, and the connections that the Dag's tasks write to. */
  readonly connectionIds: readonly string[];
}

/** The connections of each Dag of the config, by the ID of the Dag. */
export type DagConnectionMap = ReadonlyMap<string, DagConnections>;

/** Returns the connections of each Dag of the config, by the ID of the Dag. */
export function mapDagConnections({ loaded }: Program): DagConnectionMap {
  const { dags, defaults } = loaded.config;
  return new Map(
    dags.map((dag) => {
      const planned = planDag(dag, defaults);
      const taskIds = planned.tasks.map(({ id }) => id);
      const timezone = dag.schedule?.timezone ?? DEFAULT_ZONE;
      const connectionIds = findConnections(planned).recording;
      return [dag.id, { taskIds, timezone, home: planned.home, connectionIds }];
    }),
  );
}

/**
 * Returns the home connection of one Dag. Returns the home connections of all Dags if no Dag is given or if the config
 * does not have the Dag. The connections that `--conn` names come in addition: they can have runs of no Dag of the config.
 */
export function listHomes(
  { named }: Pick<Program, 'named'>,
  dagConnections: DagConnectionMap,
  dagId: string | undefined,
): readonly string[] {
  const one = dagId === undefined ? undefined : dagConnections.get(dagId);
  const homes = one ? [one.home] : [...dagConnections.values()].map(({ home }) => home);
  return removeDuplicates([...homes, ...named]);
}

/**
 * Returns the connections whose ledgers may have tasks of a run: `foundIn`, whose ledger has the run, and the
 * connections of the run's Dag.
 */
export function listRecordingConnections(
  dagConnections: DagConnectionMap,
  dagId: string,
  foundIn: string,
): readonly string[] {
  return removeDuplicates([foundIn, ...(dagConnections.get(dagId)?.connectionIds ?? [])]);
}

/** Returns the connections of all Dags: each has a ledger, or gets a ledger at the first run. */
export function listLedgerConnections(dagConnections: DagConnectionMap): readonly string[] {
  return removeDuplicates([...dagConnections.values()].flatMap(({ connectionIds }) => connectionIds));
}

/** Throws ETL-2002 if a Dag is given and the config does not have it. */
export function assertKnownDag(dagConnections: DagConnectionMap, dagId: string | undefined): void {
  if (dagId !== undefined && !dagConnections.has(dagId))
    throw createUnknownDagError(dagId, [...dagConnections.keys()]);
}

function removeDuplicates(ids: readonly (string | undefined)[]): readonly string[] {
  return [...new Set(ids.filter((id) => id !== undefined))];
}
