import { hash } from 'node:crypto';
import type { PlannedTask } from './plan.js';

/**
 * Computes the fingerprint of a task: a hash of its kind, its code or SQL, the options that change what the task
 * writes, and the fingerprints of its upstream tasks. Equal fingerprints mean that a task still does the same. The
 * fingerprints of the upstream tasks must be computed before, and passed in the order of `task.upstream`.
 */
export async function computeFingerprint(task: PlannedTask, upstream: readonly string[]): Promise<string> {
  const { kind, body, options } = task.task;
  const parts = [
    kind,
    await body.readCode(task.location.root.directory),
    task.conn ?? '',
    task.isolation,
    options.checks,
    options.with,
  ];
  // Only `checks` and `with` can hold values that JSON can't. Without a replacer, JSON.stringify is much faster.
  const isAlwaysJson = options.checks === undefined && options.with === undefined;
  const text = JSON.stringify([...parts, ...upstream], isAlwaysJson ? undefined : createReplacer());
  return hash('sha256', text).slice(0, 32);
}

/**
 * Creates a replacer for `JSON.stringify` that accepts any value in `with`. A bigint or a function becomes its text. An
 * object that occurs a second time is left out, so a value that contains itself is no error.
 */
function createReplacer(): (key: string, value: unknown) => unknown {
  const seen = new WeakSet<object>();
  return (_key, value) => {
    if (typeof value === 'bigint') return String(value);
    if (typeof value === 'function') return value.toString();
    if (typeof value !== 'object' || value === null) return value;
    if (seen.has(value)) return undefined;
    seen.add(value);
    return value;
  };
}
