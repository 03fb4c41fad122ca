import type { EtlError } from '../../errors.js';
import type { Reporter, RunEvent } from './event.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { formatJson } from './safe-text.js';
import { buildErrorFields } from './words.js';

/** The version of the format. The version grows only if a field changes its meaning or is removed. */
const VERSION = 1;

/**
 * Creates a reporter that writes each event as one line with a JSON object. The names are the names of `RunEvent` in
 * snake case. Durations are in milliseconds, times in ISO 8601. Errors contain values of rows only if `showsRowData`.
 */
export function createNdjsonReporter(write: (text: string) => void, showsRowData: boolean): Reporter {
  return { report: (event) => write(`${formatJson(buildEventJson(event, showsRowData))}\n`) };
}

/**
 * Builds the object of an event's line. The fields that all events have come first. `etl run --json` prints the object
 * of the event `run_finished` alone.
 */
export function buildEventJson(event: RunEvent, showsRowData: boolean): Record<string, unknown> {
  const { at, type, runId, dagId, ...rest } = event;
  return {
    v: VERSION,
    ts: at.toISOString(),
    event: type,
    run_id: runId,
    dag: dagId,
    ...(toSnakeCase(rest, showsRowData) as object),
  };
}

/**
 * Converts a value to plain JSON, at any depth:
 *
 * - The name of a field becomes snake case: `durationMs` -> `duration_ms`. Only `taskId` becomes `task`.
 * - A `Date` becomes ISO 8601 text, and an error an object with its parts.
 * - A number is rounded to three digits after the point.
 */
function toSnakeCase(value: unknown, showsRowData: boolean): unknown {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Error) return toErrorFields(value as EtlError, showsRowData);
  if (Array.isArray(value)) return value.map((each) => toSnakeCase(each, showsRowData));
  if (typeof value !== 'object' || value === null)
    return typeof value === 'number' ? Math.round(value * 1000) / 1000 : value;
  const entries = Object.entries(value).map(([name, each]): [string, unknown] => [
    name === 'taskId' ? 'task' : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    // The task chose the names of these fields, so they stay as they are.
    name === 'fields' ? each : toSnakeCase(each, showsRowData),
  ]);
  return Object.fromEntries(entries);
}

/** Converts an error to its parts, with the field `sqlstate` if a database error is the cause. */
function toErrorFields(error: EtlError, showsRowData: boolean): Record<string, unknown> {
  // Only an error of the database has a SQLSTATE. Errors of files and sockets have a `code`, too.
  const sqlstate = findDatabaseError(error.cause)?.code;
  return { ...buildErrorFields(error, showsRowData), ...(sqlstate === undefined ? {} : { sqlstate }) };
}
