/** The public API of `@oneshot/etl`. All other exports of `src` may change in any release. */
export type { Duration } from './runtime/duration.js';
export { defineConfig, type Config } from './runtime/config/define.js';
export type { ConnectionFunction, ConnectionParts, ConnectionRequest } from './hooks/connection-function.js';
export { dag, type Dag, type DagBuilder, type DagOptions } from './runtime/dag/dag.js';
export type { DataInterval } from './runtime/interval/interval.js';
export { EtlError, type ErrorCode } from './errors.js';
export { FailTask, SkipTask } from './runtime/attempt/outcome.js';
export type { Session } from './runtime/session/session.js';
export type { CopySource, RowSource } from './runtime/session/copy-rows.js';
export type { BulkSession, CopyStop } from './runtime/session/session-copy.js';
export type { Rows, RowsOptions } from './runtime/copy/query-rows.js';
export type { CopyFormat, CopyTable, Query } from './runtime/copy/statement.js';
export type {
  Backoff,
  Check,
  Needs,
  SessionOptions,
  Task,
  TaskDefaults,
  TaskOptions,
  Upstream,
} from './runtime/tasks/task.js';
export type {
  SessionContext,
  TaskContext,
  TaskRun,
  TransactionContext,
} from './runtime/tasks/task-context.js';
export { runDag, type RunDagOptions } from './library/run-dag.js';
export type { RunSelection } from './runtime/run/request.js';
export type {
  DagRunResult,
  FailedRun,
  ResultsOf,
  RunCallbacks,
  RunFacts,
  SucceededRun,
} from './runtime/dag/run-end.js';
export type {
  Notice,
  RunEvent,
  RunFinished,
  RunResumed,
  RunStarted,
  RunState,
  TaskFinished,
  TaskLog,
  TaskProgress,
  TaskRetrying,
  TaskStarted,
  TaskState,
  TaskSummary,
} from './runtime/report/event.js';
export type { Log } from './runtime/report/event.js';
export type { Isolation } from './runtime/postgres/transaction.js';
export type { Row } from './runtime/copy/encode.js';
export type { FileFormat } from './runtime/format/row-reader.js';
export type { Transform } from './runtime/format/transform.js';
export type { Compression, Input } from './runtime/input/input.js';
export type { SchemaContract } from './runtime/tasks/load/contract.js';
export type { CsvInputOptions } from './runtime/tasks/load/csv-format.js';
export type { LoadResult, LoadSource } from './runtime/tasks/load/load-input.js';
export type { RejectOptions } from './runtime/tasks/load/rejects.js';
export type { Written, WriteTarget } from './runtime/table/write-target.js';
export type { TransferResult, TransferSource } from './runtime/tasks/transfer/transfer-task.js';
export type {
  Incremental,
  IncrementalRange,
  IncrementalSource,
  SqlIncremental,
} from './runtime/watermark/incremental.js';
export type { Watermark } from './runtime/watermark/watermark.js';
export type { Sql, SqlResult } from './runtime/tasks/sql-task.js';
export type { BoundSql } from './runtime/sql/bind.js';
export type { CsvOptions } from './runtime/tasks/unload/extract.js';
export type { Partition } from './runtime/tasks/unload/layout.js';
export type { UnloadCompression, UnloadFormat } from './runtime/tasks/unload/output-target.js';
export type { UnloadResult, UnloadSource } from './runtime/tasks/unload/unload-task.js';
