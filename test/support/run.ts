import { randomUUID } from 'node:crypto';
import { parseConnection } from '../../src/hooks/parse-connection.js';
import { findHook } from '../../src/hooks/index.js';
import type { Dag } from '../../src/runtime/dag/dag.js';
import type { RunEvent } from '../../src/runtime/report/event.js';
import { planDag } from '../../src/runtime/dag/plan.js';
import { setRoot } from '../../src/runtime/modules/location.js';
import {
  executeRun,
  type RunConnections,
  type RunLimits,
  type RunResult,
  type RunServices,
} from '../../src/runtime/run/run.js';
import type { RunStart } from '../../src/runtime/run/start.js';
import type { TaskDefaults } from '../../src/runtime/tasks/task.js';

type Services = Pick<
  RunServices,
  'signal' | 'random' | 'redact' | 'recordsRowData' | 'unhandledErrors' | 'onTasksEnded' | 'onReportFailed'
>;

/** Options of `runOn`. */
export interface RunOptions extends Partial<
  Services & RunLimits & Pick<RunConnections, 'list' | 'getPoolSize'>
> {
  readonly runId?: string;
  /** Resumes an older run instead of starting a new run. */
  readonly resume?: RunStart & { kind: 'resume' };
  readonly defaults?: TaskDefaults;
  readonly params?: unknown;
  /** The directory of the config that the Dag belongs to. Default: the working directory. */
  readonly root?: string;
  /** The IDs of the tasks whose watermarks the run ignores. */
  readonly fullRefresh?: readonly string[];
  /** Called for each event when the event happens. */
  readonly onEvent?: (event: RunEvent) => void;
}

/** A run that has ended, with its events. */
export interface FinishedRun extends RunResult {
  readonly events: readonly RunEvent[];
  /** Returns the state of a task, with the code of its error if there is one, such as `failed ETL-3001`. */
  outcome(taskId: string): string;
}

/** Runs a Dag in this process on real databases. `connections` maps the ID of a connection to a URL. */
export async function runOn(
  connections: Readonly<Record<string, string>>,
  dag: Dag,
  {
    runId = `run-${randomUUID()}`,
    resume,
    defaults = {},
    params = {},
    fullRefresh = [],
    onEvent,
    root = process.cwd(),
    concurrency = 4,
    failFast = false,
    timeoutMs,
    list = () => Object.keys(connections),
    getPoolSize = () => concurrency,
    ...services
  }: RunOptions = {},
): Promise<FinishedRun> {
  const events: RunEvent[] = [];
  setRoot(dag.location, root);
  const result = await executeRun(
    {
      ...planDag(dag, defaults),
      start: resume ?? { kind: 'new', runId, interval: undefined, params, fullRefresh },
      overlap: { mode: 'fail' },
    },
    {
      redact: (text) => text,
      unhandledErrors: () => [],
      onReportFailed: (error) => {
        throw error;
      },
      signal: new AbortController().signal,
      random: Math.random,
      limits: { concurrency, failFast, timeoutMs },
      ...services,
      process: { pid: process.pid, host: 'test', version: '0.0.0', holder: randomUUID() },
      connections: {
        list,
        getPoolSize,
        describe: (id) => id,
        open: (id, notice) => {
          const connection = parseConnection(id, connections[id] ?? '', 'test');
          const hook = findHook(connection);
          return hook.open(connection, {
            poolSize: Math.min(concurrency, hook.maxPoolSize ?? concurrency),
            applicationName: 'etl',
            variables: {},
            root: process.cwd(),
            pid: process.pid,
            notice,
            isForRun: true,
          });
        },
      },
      reporter: {
        report: (event) => {
          events.push(event);
          onEvent?.(event);
        },
      },
    },
  );
  return {
    ...result,
    events,
    outcome: (taskId) => {
      const task = result.tasks.find((each) => each.taskId === taskId);
      return [task?.state ?? 'absent', task?.error?.code].filter(Boolean).join(' ');
    },
  };
}
