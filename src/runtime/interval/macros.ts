import type { DataInterval } from './interval.js';

/** What a task attempt is called, and what it covers. */
export interface MacroFacts {
  readonly interval: DataInterval | undefined;
  readonly runId: string;
  readonly dagId: string;
  readonly taskId: string;
  /** From 1. */
  readonly attempt: number;
}

/** The macros of a run that covers a data interval. All times are text in UTC, as a `Date` has its own ideas of both. */
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
  /** Not part of the interval. */
  readonly data_interval_end: string;
  /** `{dag}__{task}__{ds_nodash}` */
  readonly task_instance_key_str: string;
}

/** Values that a `.sql` file can bind by name (`:ds`). Names and forms are Airflow's template variables. */
export interface Macros extends Partial<IntervalMacros> {
  readonly run_id: string;
  readonly dag_id: string;
  readonly task_id: string;
  readonly try_number: number;
}

/** The macros of a task attempt; without an interval, those that tell of one are absent. See
 * https://airflow.apache.org/docs/apache-airflow/stable/templates-ref.html */
export function createMacros({ interval, runId, dagId, taskId, attempt }: MacroFacts): Macros {
  const names = { run_id: runId, dag_id: dagId, task_id: taskId, try_number: attempt };
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

/** As Python's `isoformat`: a fraction has six digits, and is left out when it is zero. */
function formatIso(instant: Date): string {
  return instant
    .toISOString()
    .replace(/(?:\.000|(\.\d{3}))Z$/, (_, fraction?: string) =>
      fraction === undefined ? '+00:00' : `${fraction}000+00:00`,
    );
}
