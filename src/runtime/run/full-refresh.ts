import { EtlError } from '../../errors.js';
import { isFullRefresh, type PlannedTask } from '../dag/plan.js';
import { formatLocation } from '../modules/location.js';
import { quoteTable } from '../sql/quote.js';
import type { TransferSource } from '../tasks/transfer/transfer-task.js';

/**
 * Throws `EtlError` ETL-2016 for a transfer that would empty its table to fill it anew, where the rows of another one
 * are in it as well: the watermark of that one would say that they are there.
 */
export function assertRefreshable(tasks: readonly PlannedTask[], fullRefresh: readonly string[]): void {
  for (const task of tasks) {
    if (!isFullRefresh(fullRefresh, task.id)) continue;
    const table = getAppendedTable(task);
    const other = tasks.find(
      (each) => each !== task && table !== undefined && getIncrementalTable(each) === table,
    );
    if (other !== undefined) throw createSharedTableError(task, other);
  }
}

function getAppendedTable(task: PlannedTask): string | undefined {
  return findTransfer(task)?.mode === 'append' ? getIncrementalTable(task) : undefined;
}

/** With its connection, as text. */
function getIncrementalTable(task: PlannedTask): string | undefined {
  const transfer = findTransfer(task);
  return transfer?.incremental && `${task.conn} ${quoteTable(transfer.into)}`;
}

function findTransfer({ task }: PlannedTask): TransferSource | undefined {
  return task.kind === 'transfer' ? (task.options as unknown as TransferSource) : undefined;
}

function createSharedTableError(task: PlannedTask, other: PlannedTask): EtlError {
  return new EtlError('ETL-2016', {
    what: `"${task.id}" can't be refreshed: "${other.id}" brings rows to the same table`,
    where: `task defined at ${formatLocation(task.location)}`,
    why: 'a full refresh of `append` empties the table, and nobody would bring those rows again',
    fix: "use mode: 'merge', or a table for each",
    data: 'nothing was started',
  });
}
