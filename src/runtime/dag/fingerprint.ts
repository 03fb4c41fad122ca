import { hash } from 'node:crypto';
import type { PlannedTask } from './plan.js';

/**
 * Says whether a task still does the same: a hash of its kind, its code or SQL, the options that change what it
 * writes, and the fingerprints of its upstream tasks. Upstream tasks must be hashed first.
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
  const isPlain = options.checks === undefined && options.with === undefined;
  const text = JSON.stringify([...parts, ...upstream], isPlain ? undefined : removeCycles());
  return hash('sha256', text).slice(0, 32);
}

/** `with` may hold anything; what JSON can't say is left out of the comparison. */
function removeCycles(): (key: string, value: unknown) => unknown {
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
