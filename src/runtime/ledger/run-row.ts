import type { DataInterval } from '../interval.js';
import { send, type ProtocolClient } from '../protocol.js';

/** A run as its row in `etl.run` holds it. */
export interface RunHeader {
  readonly runId: string;
  readonly dagId: string;
  readonly interval: DataInterval | undefined;
  /** JSON text. */
  readonly params: string;
  readonly pid: number;
  readonly host: string;
  /** The version of this program. */
  readonly version: string;
}

/** Records that a run has begun. Fails with 23505 where a run of this ID exists. */
export async function openRun(client: ProtocolClient, header: RunHeader): Promise<void> {
  const { interval } = header;
  await send(
    client,
    `insert into etl.run (run_id, dag_id, state, interval_start, interval_end, params, pid, host, version)
     values ($1, $2, 'running', $3, $4, $5::jsonb, $6, $7, $8)`,
    [
      header.runId,
      header.dagId,
      interval?.start ?? null,
      interval?.end ?? null,
      header.params,
      header.pid,
      header.host,
      header.version,
    ],
  );
}

/**
 * Records how a run ended. Its COMMIT waits for the disk even where the tasks' own do not, so that nothing that has
 * been reported is lost with the server.
 */
export async function closeRun(
  client: ProtocolClient,
  runId: string,
  state: 'success' | 'failed',
): Promise<void> {
  await send(client, 'begin; set local synchronous_commit = on');
  await send(client, 'update etl.run set state = $2, finished_at = clock_timestamp() where run_id = $1', [
    runId,
    state,
  ]);
  await send(client, 'commit');
}
