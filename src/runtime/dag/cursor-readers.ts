import type { CursorReader } from '../tasks/unset-cursor.js';
import type { PlannedTask } from './plan.js';

/** Lists the incremental tasks that read a table on the connection `conn`. */
export function listCursorReaders(
  tasks: readonly Pick<PlannedTask, 'id' | 'conn' | 'task'>[],
  conn: string | undefined,
): readonly CursorReader[] {
  return tasks.flatMap((task) => {
    const { body } = task.task;
    const reads = body.transactional ? body.reads : undefined;
    return reads === undefined || (reads.conn ?? task.conn) !== conn ? [] : [{ taskId: task.id, ...reads }];
  });
}
