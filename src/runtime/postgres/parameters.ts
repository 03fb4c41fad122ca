import { isBoxedPrimitive } from 'node:util/types';
import { describeThrown, EtlError } from '../../errors.js';
import { createDateFormat } from './date-text.js';
import { buildJson } from './exact-number.js';
import { type ValueFormat, type WellFormed, createValueFormat } from './value-text.js';

/**
 * Returns the values of a statement's parameters in the form in which pg sends them. pg itself would change some values
 * without an error: it writes -0 as 0, NaN inside JSON and an invalid date inside JSON as null, a Map as `{}`, a function
 * as its source text, half of a surrogate pair as U+FFFD, and an offset of the local time without its seconds.
 *
 * Returns `values` itself if pg sends all of them unchanged. Throws `EtlError` ETL-3020 for a value that can't be sent.
 * `usesUtcDates` is that of the connection.
 */
export function prepareParameters(values: readonly unknown[], usesUtcDates: boolean): readonly unknown[] {
  let prepared: unknown[] | undefined;
  for (let i = 0; i < values.length; i++) {
    const value = prepareAt(values, i, usesUtcDates);
    if (value === values[i]) continue;
    prepared ??= [...values];
    prepared[i] = value;
  }
  return prepared ?? values;
}

/** Prepares the value at `index`. Throws `EtlError` ETL-3020 with the number of the parameter. */
function prepareAt(values: readonly unknown[], index: number, usesUtcDates: boolean): unknown {
  try {
    return prepareValue(values[index], usesUtcDates);
  } catch (error) {
    throw new EtlError('ETL-3020', {
      what: `the value of $${index + 1} can't be sent to PostgreSQL without a change`,
      why: describeThrown(error),
      fix: 'give a string, a number, a boolean, a Date, a Buffer, null, or an array or a plain object of these',
      data: 'the statement was not sent',
      cause: error,
    });
  }
}

function prepareValue(value: unknown, usesUtcDates: boolean): unknown {
  if (typeof value === 'string') return assertWellFormed(value);
  if (Object.is(value, -0)) return '-0';
  if (typeof value === 'object') return value === null ? null : prepareObject(value, usesUtcDates);
  if (typeof value !== 'function' && typeof value !== 'symbol') return value;
  throw new TypeError(`a ${typeof value} can't be a value`);
}

/** Prepares an object. pg sends bytes itself, in binary, and calls `toPostgres`. */
function prepareObject(value: object, usesUtcDates: boolean): unknown {
  if (ArrayBuffer.isView(value)) return value;
  if (isBoxedPrimitive(value)) return prepareValue(value.valueOf(), usesUtcDates);
  if (value instanceof Date || Array.isArray(value))
    return assertWellFormed(createFormat(usesUtcDates)(value));
  if (typeof (value as { toPostgres?: unknown }).toPostgres === 'function') return value;
  return assertWellFormed(buildJson(value));
}

/** The type of a parameter is not known, so an array is a PostgreSQL array. */
function createFormat(usesUtcDates: boolean): ValueFormat {
  return createValueFormat({
    type: undefined,
    jsonStrings: 'text',
    formatDate: createDateFormat(usesUtcDates),
  });
}

/** Returns the text. Throws a `TypeError` for half of a surrogate pair, which UTF-8 would replace by U+FFFD. */
function assertWellFormed(text: string): string {
  if ((text as WellFormed).isWellFormed()) return text;
  throw new TypeError('the text holds half of a surrogate pair, which is not a character');
}
