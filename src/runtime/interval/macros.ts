import type { DataInterval } from './interval.js';

/** The attempt of a task whose macros are created. */
interface MacroRun {
  /** The `runId`. */
  readonly id: string;
  readonly dagId: string;
  readonly taskId: string;
  /** The number of the attempt, from 1. */
  readonly attempt: number;
}

/**
 * Returns the macros of a task attempt: values that a `.sql` file can bind by name (`:ds`). The names and formats are
 * those of Airflow's template variables, and all times are in UTC. Without a data interval the macros of the interval are
 * absent. See https://airflow.apache.org/docs/apache-airflow/stable/templates-ref.html
 */
export function createMacros(
  interval: DataInterval | undefined,
  { id, dagId, taskId, attempt }: MacroRun,
): Readonly<Record<string, string | number>> {
  const names = { run_id: id, dag_id: dagId, task_id: taskId, try_number: attempt };
  if (interval === undefined) return names;
  // 2020-08-01T02:00:00+00:00 and 20200801T020000+0000
  const ts = formatIso(interval.start);
  const compact = ts.replaceAll(/[-:]/g, '');
  return {
    ...names,
    ds: ts.slice(0, 10),
    ds_nodash: compact.slice(0, 8),
    ts,
    ts_nodash: compact.slice(0, 15),
    ts_nodash_with_tz: compact,
    logical_date: ts,
    data_interval_start: ts,
    data_interval_end: formatIso(interval.end),
    task_instance_key_str: `${dagId}__${taskId}__${compact.slice(0, 8)}`,
  };
}

/**
 * Writes an instant like Python's `isoformat`: `2020-08-01T02:00:00+00:00`, or `2020-08-01T02:00:00.123000+00:00` with
 * a fraction.
 */
function formatIso(instant: Date): string {
  return instant
    .toISOString()
    .replace(/(?:\.000|(\.\d{3}))Z$/, (_, fraction?: string) =>
      fraction === undefined ? '+00:00' : `${fraction}000+00:00`,
    );
}

/** Lists the names of all macros, those of the interval included. */
export function listMacroNames(): readonly string[] {
  const start = new Date(0);
  const run = { id: '', dagId: '', taskId: '', attempt: 1 };
  return Object.keys(createMacros({ start, end: start, logicalDate: start }, run));
}
