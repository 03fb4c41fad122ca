import type { EtlError } from '../../errors.js';
import type { Reporter, RunEvent } from './event.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { buildErrorFields } from './words.js';

/** The version of the format: it grows only when a field changes its meaning or goes. */
const VERSION = 1;

/**
 * One JSON object a line and an event, with the names of `RunEvent` in snake case; durations in milliseconds,
 * times in ISO 8601.
 */
export function createNdjsonReporter(write: (text: string) => void): Reporter {
  return { report: (event) => write(`${JSON.stringify(getFields(event))}\n`) };
}

/** What `--json` prints of a run, in the form of the event `run_finished`. */
export function buildResultJson(event: RunEvent & { type: 'run_finished' }): unknown {
  return getFields(event);
}

function getFields(event: RunEvent): Record<string, unknown> {
  const { at, type, runId, dagId, ...rest } = event;
  return {
    v: VERSION,
    ts: at.toISOString(),
    event: type,
    run_id: runId,
    dag: dagId,
    ...(toSnakeCase(rest) as object),
  };
}

function toSnakeCase(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Error) return getError(value as EtlError);
  if (Array.isArray(value)) return value.map(toSnakeCase);
  if (typeof value !== 'object' || value === null)
    return typeof value === 'number' ? Math.round(value * 1000) / 1000 : value;
  const entries = Object.entries(value).map(([name, each]): [string, unknown] => [
    name === 'taskId' ? 'task' : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    // The fields of a log line are the task's own: their names stay.
    name === 'fields' ? each : toSnakeCase(each),
  ]);
  return Object.fromEntries(entries);
}

function getError(error: EtlError): Record<string, unknown> {
  // Errors of the file system and of sockets have a `code` as well.
  const sqlstate = findDatabaseError(error.cause)?.code;
  return { ...buildErrorFields(error), ...(sqlstate === undefined ? {} : { sqlstate }) };
}
