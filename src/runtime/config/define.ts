import { EtlError } from '../../errors.js';
import type { Dag } from '../dag/dag.js';
import { captureLocation, type Location } from '../modules/location.js';
import type { Duration } from '../duration.js';
import type { TaskDefaults } from '../tasks/task.js';
import { findShapeProblem, type ShapeProblem } from './shape.js';

/** A connection in a config: a URL, or a URL with its own limit of open transactions. */
export interface ConnectionSettings {
  readonly url: string;
  readonly concurrency?: number;
}

/** What `etl.config.ts` exports as its default. */
export interface Config {
  readonly dags?: readonly Dag[];
  /** Connections by ID. An undefined value, such as a variable that is not set, counts as no definition. */
  readonly connections?: Readonly<Record<string, string | ConnectionSettings | undefined>>;
  /** For all tasks of all Dags; a Dag's and a task's own values win. */
  readonly defaults?: TaskDefaults;
  /** How many tasks run at once. */
  readonly concurrency?: number;
  /** For a whole run. */
  readonly timeout?: Duration;
}

/** What `defineConfig` throws: the loader knows the text of the file, and replaces `where` by the place of the key. */
export class ShapeError extends EtlError {
  readonly problem: ShapeProblem;
  readonly location: Location;

  constructor(problem: ShapeProblem, location: Location) {
    super('ETL-2106', problem);
    this.problem = problem;
    this.location = location;
  }
}

/**
 * Types and checks a config: `export default defineConfig({ dags: [monthly] })`. Returns what it is given. Throws
 * `EtlError` ETL-2106 at the first mistake.
 */
export function defineConfig<const C extends Config>(config: C): C {
  assertConfig(config, (problem) => new ShapeError(problem, captureLocation(defineConfig)));
  return config;
}

/** Throws what `report` makes of the first mistake in what should be a config. */
export function assertConfig(
  value: unknown,
  report: (problem: ShapeProblem) => EtlError,
): asserts value is Config {
  const problem = findShapeProblem(value);
  if (problem !== undefined) throw report(problem);
}
