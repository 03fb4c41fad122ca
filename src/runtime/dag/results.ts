import { DefinedTask, type Dag } from './dag.js';
import type { ResultsOf } from './run-end.js';

/** Returns the results of the tasks that the definition of a Dag returned. `results` has the results by task ID. */
export function collectResults<Defined>(
  dag: Dag<Defined>,
  results: ReadonlyMap<string, unknown>,
): ResultsOf<Defined> {
  return collect(dag.defined, results) as ResultsOf<Defined>;
}

function collect(value: unknown, results: ReadonlyMap<string, unknown>): unknown {
  if (value instanceof DefinedTask) return results.get(value.id);
  if (Array.isArray(value)) return value.map((each) => collect(each, results));
  if (typeof value !== 'object' || value === null) return undefined;
  if (Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, collect(each, results)]));
}
