import type { EtlError } from '../../errors.js';
import type { Reporter, RunEvent } from './event.js';
import { databaseErrorOf } from '../postgres/sqlstate.js';
import { errorFields } from './words.js';

/** The version of the format: it grows only when a field changes its meaning or goes. */
const VERSION = 1;

/**
 * One JSON object a line and an event, with the names of `RunEvent` in snake case; durations in milliseconds,
 * times in ISO 8601.
 */
export function ndjsonReporter(write: (text: string) => void): Reporter {
  return { report: (event) => write(`${JSON.stringify(fieldsOf(event))}\n`) };
}

/** What `--json` prints of a run, in the form of the event `run_finished`. */
export function resultJson(event: RunEvent & { type: 'run_finished' }): unknown {
  return fieldsOf(event);
}

function fieldsOf(event: RunEvent): Record<string, unknown> {
  const { at, type, runId, dagId, ...rest } = event;
  return {
    v: VERSION,
    ts: at.toISOString(),
    event: type,
    run_id: runId,
    dag: dagId,
    ...(snake(rest) as object),
  };
}

function snake(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Error) return errorOf(value as EtlError);
  if (Array.isArray(value)) return value.map(snake);
  if (typeof value !== 'object' || value === null)
    return typeof value === 'number' ? Math.round(value * 1000) / 1000 : value;
  const entries = Object.entries(value).map(([name, each]): [string, unknown] => [
    name === 'taskId' ? 'task' : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    // The fields of a log line are the task's own: their names stay.
    name === 'fields' ? each : snake(each),
  ]);
  return Object.fromEntries(entries);
}

function errorOf(error: EtlError): Record<string, unknown> {
  // Errors of the file system and of sockets have a `code` as well.
  const sqlstate = databaseErrorOf(error.cause)?.code;
  return { ...errorFields(error), ...(sqlstate === undefined ? {} : { sqlstate }) };
}
