import { checkFailed } from '../postgres/task-connection-errors.js';
import { send, type ProtocolClient } from '../postgres/protocol.js';
import type { Check } from '../tasks/task.js';

/** Runs the checks of a task in its transaction, in order. Throws for the first one that finds a row. */
export async function runChecks(client: ProtocolClient, checks: readonly Check[]): Promise<void> {
  for (const { name, sql, values = [] } of checks) {
    const { rows } = await send(client, offending(sql), values);
    if (rows.length > 0) throw checkFailed(name);
  }
}

/** The line break ends a comment at the end of the query. */
function offending(sql: string): string {
  return `select from (${sql.trim().replace(/;$/, '')}\n) as offending limit 1`;
}
