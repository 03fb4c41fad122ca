import { EtlError } from '../../errors.js';
import { isFullRefresh, type PlannedTask } from '../dag/plan.js';
import { placeText } from '../modules/location.js';
import { quoteTable } from '../sql/quote.js';
import type { TransferSource } from '../tasks/transfer/transfer-task.js';

/**
 * Throws `EtlError` ETL-2016 for a transfer that would empty its table to fill it anew, where the rows of another one
 * are in it as well: the watermark of that one would say that they are there.
 */
export function assertRefreshable(tasks: readonly PlannedTask[], fullRefresh: readonly string[]): void {
  for (const task of tasks) {
    if (!isFullRefresh(fullRefresh, task.id)) continue;
    const table = appendedTable(task);
    const other = tasks.find(
      (each) => each !== task && table !== undefined && incrementalTable(each) === table,
    );
    if (other !== undefined) throw sharedTable(task, other);
  }
}

function appendedTable(task: PlannedTask): string | undefined {
  return transferOf(task)?.mode === 'append' ? incrementalTable(task) : undefined;
}

/** With its connection, as text. */
function incrementalTable(task: PlannedTask): string | undefined {
  const transfer = transferOf(task);
  return transfer?.incremental && `${task.conn} ${quoteTable(transfer.into)}`;
}

function transferOf({ task }: PlannedTask): TransferSource | undefined {
  return task.kind === 'transfer' ? (task.options as unknown as TransferSource) : undefined;
}

function sharedTable(task: PlannedTask, other: PlannedTask): EtlError {
  return new EtlError('ETL-2016', {
    what: `"${task.id}" can't be refreshed: "${other.id}" brings rows to the same table`,
    where: `task defined at ${placeText(task.place)}`,
    why: 'a full refresh of `append` empties the table, and nobody would bring those rows again',
    fix: "use mode: 'merge', or a table for each",
    data: 'nothing was started',
  });
}
