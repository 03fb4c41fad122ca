// The workload. The suite also copies this file beside the config of the real program, so the file has only type
// imports.
import type { Dag, dag as defineDag } from '../../src/runtime/dag/dag.js';
import type { Task } from '../../src/runtime/tasks/task.js';
import type { SessionContext } from '../../src/runtime/tasks/task-context.js';

/** Options of the workload. */
export interface GraphOptions {
  readonly tasks: number;
  /** The number of rows that each task inserts. */
  readonly rows: number;
  /** The time that each task sleeps on the server between two writes, in milliseconds. */
  readonly pauseMs: number;
  readonly retries: number;
  /** `off` if the COMMITs of tasks do not wait for the disk. */
  readonly synchronousCommit?: string | undefined;
  /** Called at the beginning of each task. */
  readonly onBegin?: (() => void) | undefined;
  /** Called in the middle of each task. */
  readonly onMidway?: ((context: SessionContext, taskId: string) => unknown) | undefined;
}

/**
 * Defines a Dag whose tasks leave a trace if they run twice: plain inserts, and a counter that goes up. Every third
 * task needs nothing; the others need a task before them.
 */
export function defineGraph(
  dag: typeof defineDag,
  { tasks, rows, pauseMs, retries, synchronousCommit, onBegin: begun, onMidway: midway }: GraphOptions,
): Dag {
  const defaults = { conn: 'db', retries, backoff: { initial: 1, max: 20 } };
  return dag('d', { defaults }, (d) => {
    const made: Task[] = [];
    for (let i = 0; i < tasks; i++) {
      const id = `t${i}`;
      const before = i % 3 === 0 ? undefined : made[i - 3];
      const half = Math.floor(rows / 2);
      const needs = before === undefined ? [] : [before];
      const task = d.session(id, { needs }, async (context) => {
        const { session, run } = context;
        begun?.();
        if (synchronousCommit) await session.raw(`set local synchronous_commit = ${synchronousCommit}`);
        await session.raw(`select nextval('executions')`);
        await session.raw('insert into effect select ?, ?, generate_series(1, ?::int)', [run.id, id, half]);
        await session('counter').where({ run_id: run.id, task_id: id }).increment('n', 1);
        if (pauseMs > 0) await session.raw('select pg_sleep(?)', [pauseMs / 1000]);
        await midway?.(context, id);
        const rest = Array.from({ length: rows - half }, (_, n) => ({ run_id: run.id, task_id: id, n }));
        await session('effect').insert(rest);
        return rows;
      });
      made.push(task);
    }
  });
}
