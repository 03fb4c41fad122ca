import { EtlError } from '../../errors.js';
import { isFullRefresh, type PlannedTask } from '../dag/plan.js';
import { formatTaskOrigin } from '../modules/location.js';
import { quoteTable } from '../sql/quote.js';
import type { TransferSource } from '../tasks/transfer/transfer-task.js';

/**
 * Throws ETL-2016 if a full refresh of a transfer would delete the rows of another incremental transfer into the same
 * table. The other transfer would not load its rows again, because its watermark says that they are loaded.
 */
export function assertRefreshable(tasks: readonly PlannedTask[], fullRefresh: readonly string[]): void {
  for (const task of tasks) {
    if (!isFullRefresh(fullRefresh, task.id)) continue;
    const table = getAppendedTable(task);
    if (table === undefined) continue;
    const other = tasks.find((each) => each !== task && getIncrementalTable(each) === table);
    if (other === undefined) continue;
    throw new EtlError('ETL-2016', {
      what: `"${task.id}" can't be fully refreshed: "${other.id}" loads rows into the same table`,
      where: formatTaskOrigin(task.location),
      why: `a full refresh in mode \`append\` empties the table, and the rows of "${other.id}" would be lost`,
      fix: "use mode: 'merge', or give each transfer its own table",
      data: 'nothing was started',
    });
  }
}

/**
 * Returns the table that a full refresh of the task empties: the table of an incremental transfer in mode `append`.
 */
function getAppendedTable(task: PlannedTask): string | undefined {
  return findTransfer(task)?.mode === 'append' ? getIncrementalTable(task) : undefined;
}

/**
 * Returns the connection and the table of an incremental transfer as one text, such as `shop "public"."orders"`.
 * Undefined for any other task.
 */
function getIncrementalTable(task: PlannedTask): string | undefined {
  const transfer = findTransfer(task);
  return transfer?.incremental && `${task.conn} ${quoteTable(transfer.into)}`;
}

/** Returns the options of a transfer. Undefined for a task of another kind. */
function findTransfer({ task }: PlannedTask): TransferSource | undefined {
  return task.kind === 'transfer' ? (task.options as unknown as TransferSource) : undefined;
}
