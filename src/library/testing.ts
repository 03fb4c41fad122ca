/** The public API of `@oneshot/etl/testing`: a database for tests, and a gate that orders what happens at once. */
export {
  openTestDatabase,
  type RunTaskOptions,
  type TaskRunResult,
  type TestDatabase,
  type TestDatabaseOptions,
  type TestRunOptions,
  withTestDatabase,
} from './test-database.js';
export { createGate, type Gate } from './gate.js';
