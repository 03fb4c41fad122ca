import type { Program } from './program.js';
import { RunDatabase } from '../../runtime/database/run-database.js';
import { listCursorReaders } from '../../runtime/dag/cursor-readers.js';
import type { PlannedDag } from '../../runtime/dag/plan.js';
import { findUnsetCursors } from '../../runtime/tasks/unset-cursor.js';

/**
 * Finds the tables that one task merges into and an incremental task reads, also of another Dag, and whose cursor no
 * update sets. `reachable` are the connections that could be opened. Opens only connections with such tables.
 */
export async function findCursorWarnings(
  program: Program,
  plans: readonly PlannedDag[],
  reachable: readonly string[],
): Promise<readonly string[]> {
  const tasks = plans.flatMap((plan) => plan.tasks);
  const warnings = new Set<string>();
  for (const id of reachable) {
    const readers = listCursorReaders(tasks, id);
    const tables = tasks.flatMap(({ conn, task: { body } }) =>
      conn === id && body.transactional && body.merges !== undefined ? [body.merges] : [],
    );
    if (readers.length === 0 || tables.length === 0) continue;
    const database = await program.open(await program.lookup.load(id), { concurrency: 1 });
    try {
      const found = await new RunDatabase(database, program.ledgerSchema, id).with(async ({ client }) => {
        const lists: string[] = [];
        for (const table of tables)
          lists.push(...(await findUnsetCursors(client, { table, columns: undefined }, readers)));
        return lists;
      });
      for (const warning of found) warnings.add(warning);
    } finally {
      await database.close();
    }
  }
  return [...warnings];
}
