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

/** The macros of a run that covers a data interval. All times are texts in UTC. */
export interface IntervalMacros {
  /** `2020-08-01` */
  readonly ds: string;
  /** `20200801` */
  readonly ds_nodash: string;
  /** `2020-08-01T02:00:00+00:00` */
  readonly ts: string;
  /** `20200801T020000` */
  readonly ts_nodash: string;
  /** `20200801T020000+0000` */
  readonly ts_nodash_with_tz: string;
  /** The same as `ts`. */
  readonly logical_date: string;
  /** The same as `ts`. */
  readonly data_interval_start: string;
  /** The end of the interval, which is not part of the interval: `2020-09-01T02:00:00+00:00` */
  readonly data_interval_end: string;
  /** `{dag}__{task}__{ds_nodash}` */
  readonly task_instance_key_str: string;
}

/**
 * Values that a `.sql` file can bind by name (`:ds`). The names and formats are those of Airflow's template variables.
 */
export interface Macros extends Partial<IntervalMacros> {
  readonly run_id: string;
  readonly dag_id: string;
  readonly task_id: string;
  readonly try_number: number;
}

/**
 * Returns the macros of a task attempt. Without a data interval the macros of the interval are absent. See
 * https://airflow.apache.org/docs/apache-airflow/stable/templates-ref.html
 */
export function createMacros(
  interval: DataInterval | undefined,
  { id, dagId, taskId, attempt }: MacroRun,
): Macros {
  const names = { run_id: id, dag_id: dagId, task_id: taskId, try_number: attempt };
  return interval ? { ...names, ...createIntervalMacros(interval, `${dagId}__${taskId}`) } : names;
}

function createIntervalMacros({ start, end }: DataInterval, taskKey: string): IntervalMacros {
  const ts = formatIso(start);
  const compact = ts.replaceAll(/[-:]/g, '');
  const ds = ts.slice(0, 10);
  return {
    ds,
    ds_nodash: compact.slice(0, 8),
    ts,
    ts_nodash: compact.slice(0, 15),
    ts_nodash_with_tz: compact,
    logical_date: ts,
    data_interval_start: ts,
    data_interval_end: formatIso(end),
    task_instance_key_str: `${taskKey}__${compact.slice(0, 8)}`,
  };
}

/** Writes an instant like Python's `isoformat`. A fraction has six digits. A fraction of zero is left out. */
function formatIso(instant: Date): string {
  return instant
    .toISOString()
    .replace(/(?:\.000|(\.\d{3}))Z$/, (_, fraction?: string) =>
      fraction === undefined ? '+00:00' : `${fraction}000+00:00`,
    );
}
