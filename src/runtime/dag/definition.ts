import { normalize } from 'node:path';
import { EtlError } from '../../errors.js';
import { showValue } from '../json.js';
import { formatLocation, type Location } from '../modules/location.js';
import { aFunction, aPlainObject, checkFields } from '../tasks/option-rule.js';
import { locateErrors } from './options.js';
import type { Task } from '../tasks/task.js';

/** The pattern of an ID of a Dag or a task. The ID is used in file names, SQL settings and command lines. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/;

/** Throws `EtlError` ETL-2305 if a value can't be the ID of a Dag or a task. */
export function assertId(what: 'Dag' | 'task', id: unknown, location: Location): void {
  if (typeof id === 'string' && ID.test(id)) return;
  throw new EtlError('ETL-2305', {
    what: `${showValue(id)} can't be the ID of a ${what}`,
    where: formatLocation(location),
    fix: 'use at most 100 letters, digits, "_", "." and "-", and begin with a letter or a digit',
  });
}

/** Throws `EtlError` ETL-2303 if the function of a task is missing. */
export function assertFunction(id: string, run: unknown, location: Location): void {
  if (typeof run === 'function') return;
  throw new EtlError('ETL-2303', {
    what: `task "${id}" has no function`,
    where: formatLocation(location),
    why: run === undefined ? undefined : `the third argument is ${showValue(run)}`,
    fix: 'pass an async function as the third argument',
  });
}

/** Throws `EtlError` ETL-2303 if the definition of a Dag is not a function. */
export function assertDefinition(id: string, define: unknown, location: Location): void {
  if (typeof define === 'function') return;
  throw new EtlError('ETL-2303', {
    what: `the Dag "${id}" has no definition`,
    where: formatLocation(location),
    why: `the third argument is ${showValue(define)}`,
    fix: 'pass a function that adds the tasks: (d) => { d.sql(…); }',
  });
}

/** Throws `EtlError` ETL-2303, with the location, if the functions for the end of a run are wrong. */
export function assertCallbacks(callbacks: object, location: Location): void {
  locateErrors(location, () => {
    const expected = aPlainObject(callbacks, '');
    if (expected !== undefined)
      throw new EtlError('ETL-2303', {
        what: `expected the fourth argument of dag() to be ${expected}, got ${showValue(callbacks)}`,
        fix: 'pass an object with onSuccess or onFailure',
      });
    checkFields(callbacks, CALLBACKS, '');
  });
}

/** The rules of the functions for the end of a run. */
const CALLBACKS = { onSuccess: aFunction, onFailure: aFunction };

/**
 * Throws `EtlError` ETL-2308 if the definition of a Dag returned a promise or another thenable: what an async function
 * adds after its first `await` would not be a part of the Dag.
 */
export function assertSynchronous(id: string, returned: unknown, location: Location): void {
  if (!isThenable(returned)) return;
  // The rest of the async function may fail later, for example because it adds a task. This error is the first to tell.
  if (returned instanceof Promise) returned.catch(() => undefined);
  throw new EtlError('ETL-2308', {
    what: `the definition of the Dag "${id}" is async`,
    where: formatLocation(location),
    why: `the definition returned ${showValue(returned)}, and tasks that it adds later would be missing from the Dag`,
    fix: 'define the Dag with a function that is not async; read files and wait for values before the call of `dag()`, or in a task',
  });
}

/** Throws `EtlError` ETL-2309 if a definition has added no task. */
export function assertHasTask(id: string, tasks: readonly unknown[], location: Location): void {
  if (tasks.length > 0) return;
  throw new EtlError('ETL-2309', {
    what: `the Dag "${id}" has no tasks`,
    where: formatLocation(location),
    why: 'its definition returned without adding a task, so a run would do nothing and succeed',
    fix: 'add a task with a method of `d`, such as d.sql(…), before the definition returns',
  });
}

/**
 * Throws `EtlError` ETL-2310 if one of the other tasks writes its rejected rows to the same file: only the rows of the load
 * that ends last would stay.
 */
export function assertOwnRejectsFile(task: Task, others: readonly Task[]): void {
  const file = readRejectsFile(task);
  if (file === undefined) return;
  const other = others.find((each) => readRejectsFile(each) === file);
  if (other === undefined) return;
  throw new EtlError('ETL-2310', {
    what: `the tasks "${other.id}" and "${task.id}" write their rejected rows to the same file "${file}"`,
    where: `${formatLocation(task.location)}, and first at ${formatLocation(other.location)}`,
    why: 'each load replaces the file, so only the rows of the load that ends last would stay',
    fix: 'give each load a file of its own, or set `rejects.to` to a table, which several loads can share',
  });
}

/** Returns the path of the file for rejected rows, without `.` and `..` where possible. */
function readRejectsFile({ body }: Task): string | undefined {
  return body.transactional && body.rejectsFile !== undefined ? normalize(body.rejectsFile) : undefined;
}

function isThenable(value: unknown): boolean {
  const mayHaveThen = (typeof value === 'object' && value !== null) || typeof value === 'function';
  return mayHaveThen && typeof (value as { then?: unknown }).then === 'function';
}
