import { EtlError } from '../../errors.js';
import { showValue } from '../json.js';
import {
  aFunction,
  anObject,
  anyText,
  anything,
  checkFields,
  count,
  duration,
  factor,
  fields,
  flag,
  listOf,
  oneOf,
  positive,
  text,
  type Rule,
} from '../tasks/option-rule.js';
import { assertMode, LOAD } from '../tasks/load/load-rules.js';
import type { CsvOptions } from '../tasks/unload/extract.js';
import { formatLocation, type Location } from '../modules/location.js';
import type { TaskKind } from '../tasks/task.js';

/** The pattern of an ID of a Dag or a task. The ID is used in file names, SQL settings and command lines. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/;

const ISOLATIONS = ['read committed', 'repeatable read', 'serializable'];

const textOrFunction: Rule = (value, name) =>
  typeof value === 'function' ? undefined : text(value, name) && 'a text that is not empty, or a function';
/** Accepts a character that separates or quotes fields of CSV: one that can't be a part of a number or a name. */
const csvMark: Rule = (value) =>
  typeof value === 'string' && /^[\t!-/:-@[-`{-~]$/.test(value) && value !== '\\'
    ? undefined
    : 'one ASCII character that is no letter, digit, space or backslash';
const partition: Rule = (value, name) => {
  const expected = fields({ rows: positive, bytes: positive, by: text })(value, name);
  return (
    expected ?? (Object.keys(value as object).length === 1 ? undefined : 'either `rows`, `bytes` or `by`')
  );
};
/** Makes the rule of the option `incremental`. `inputs` are the rules of the options that say what the task reads. */
const createIncrementalRule =
  (inputs: Readonly<Record<string, Rule>>): Rule =>
  (value, name) => {
    const wrong = fields({ ...INCREMENTAL, ...inputs })(value, name);
    if (wrong !== undefined) return wrong;
    const has = (option: string): boolean => (value as Record<string, unknown>)[option] !== undefined;
    if (!has('cursor')) return 'an object with the name of a `cursor`';
    const given = Object.keys(inputs).filter(has);
    return given.length === Math.min(1, Object.keys(inputs).length)
      ? undefined
      : `an object with one of ${Object.keys(inputs)
          .map((each) => `\`${each}\``)
          .join(' and ')}`;
  };
const BACKOFF = { initial: duration, factor, max: duration, jitter: flag };
const DEFAULTS = {
  conn: text,
  retries: count,
  backoff: fields(BACKOFF),
  timeout: duration,
  isolation: oneOf(ISOLATIONS),
  retryOn: listOf((value) =>
    /^[0-9A-Z]{2}([0-9A-Z]{3})?$/.test(String(value))
      ? undefined
      : 'an array of SQLSTATEs such as "23505" or "23"',
  ),
};
/** The names of the options that a config or a Dag can set for all of its tasks. */
export const DEFAULT_NAMES: readonly string[] = Object.keys(DEFAULTS);
const CHECK = { name: text, sql: text, values: listOf(anything) };
const INCREMENTAL = { cursor: text, initial: text, lag: duration, timeZone: text };
const COMMON = { needs: anObject, tags: listOf(text), with: anything };
const TRANSACTIONAL = { ...DEFAULTS, ...COMMON, checks: listOf(fields(CHECK)) };
const { conn: _conn, isolation: _isolation, ...PLAIN } = { ...DEFAULTS, ...COMMON };

const { checks: _checks, ...READING } = TRANSACTIONAL;
/** Accepts the CSV options of an unload. COPY would refuse wrong options later, and without the location. */
const csv: Rule = (value, name) => {
  const expected = fields({
    delimiter: csvMark,
    quote: csvMark,
    null: anyText,
    header: flag,
    encoding: text,
    forceQuote: flag,
  })(value, name);
  if (expected !== undefined) return expected;
  const { delimiter = ',', quote = '"' } = value as CsvOptions;
  return delimiter === quote ? 'an object whose `delimiter` and `quote` differ' : undefined;
};
const UNLOAD = {
  query: anything,
  table: text,
  to: textOrFunction,
  format: oneOf(['csv', 'ndjson', 'parquet']),
  compression: oneOf(['gzip', 'brotli', 'zstd', 'none']),
  csv,
  partition: partition,
};

const RULES_OF_KIND: Readonly<Record<TaskKind, Readonly<Record<string, Rule>>>> = {
  session: { ...TRANSACTIONAL, reads: listOf(text) },
  sql: {
    ...TRANSACTIONAL,
    sql: anything,
    file: text,
    values: aFunction,
    incremental: createIncrementalRule({ table: text, query: text }),
  },
  load: { ...TRANSACTIONAL, ...LOAD },
  unload: { ...READING, ...UNLOAD },
  transfer: {
    ...TRANSACTIONAL,
    from: text,
    table: text,
    query: anything,
    into: text,
    mode: oneOf(['append', 'replace', 'merge']),
    key: listOf(text),
    deleteMissing: flag,
    incremental: createIncrementalRule({}),
  },
  task: PLAIN,
};

const REQUIRED: Readonly<Partial<Record<TaskKind, readonly string[]>>> = {
  load: ['from', 'into', 'mode'],
  unload: ['to'],
  transfer: ['from', 'into', 'mode'],
};

/** Pairs of options of which a task needs exactly one. */
const EITHER: Readonly<Partial<Record<TaskKind, readonly [string, string]>>> = {
  sql: ['sql', 'file'],
  unload: ['query', 'table'],
  transfer: ['query', 'table'],
};

const DAG = {
  description: text,
  schedule: text,
  timezone: text,
  startDate: text,
  params: (value: unknown) =>
    value !== null && ['object', 'function'].includes(typeof value) && '~standard' in (value as object)
      ? undefined
      : 'a schema of a Standard Schema library such as zod',
  defaults: fields(DEFAULTS),
  tags: listOf(text),
};

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
    fix: 'pass an async function as the third argument',
  });
}

/** Throws `EtlError` ETL-2303, with the location, if an option of a Dag does not exist or has a wrong value. */
export function validateDagOptions(options: object, location: Location): void {
  locateErrors(location, () => {
    checkFields(options, DAG, '');
    const { schedule, timezone, startDate } = options as Record<string, unknown>;
    if (schedule === undefined && (timezone ?? startDate) !== undefined) {
      throw new EtlError('ETL-2303', {
        what: '`timezone` and `startDate` belong to a `schedule`, but the Dag has no `schedule`',
        fix: 'add `schedule`, or remove `timezone` and `startDate`',
      });
    }
  });
}

/**
 * Throws `EtlError` ETL-2303, with the location, if an option does not exist for the kind of the task, has a wrong
 * value, or is missing.
 */
export function validateTaskOptions(kind: TaskKind, options: object, location: Location): void {
  locateErrors(location, () => {
    checkFields(options, RULES_OF_KIND[kind], '');
    const missing = REQUIRED[kind]?.find((name) => !Object.hasOwn(options, name));
    if (missing !== undefined)
      throw new EtlError('ETL-2303', { what: `a ${kind} task needs \`${missing}\`` });
    if ('mode' in options) assertMode(options);
    const [one, other] = EITHER[kind] ?? [];
    if (one !== undefined && other !== undefined && one in options === other in options)
      throw new EtlError('ETL-2303', { what: `a ${kind} task needs either \`${one}\` or \`${other}\`` });
    const { sql, incremental } = options as Record<string, unknown>;
    if (kind === 'transfer') assertKeepsRows(options);
    if (kind === 'sql' && incremental !== undefined && sql !== undefined && typeof sql !== 'function') {
      throw new EtlError('ETL-2303', {
        what: 'the `sql` of an incremental task must be a function, or be in a `file`',
        fix: 'sql: ({ incremental: { low, high } }) => ({ text: …, values: [low, high] })',
      });
    }
  });
}

/** Throws `EtlError` ETL-2303 if an incremental transfer would remove the rows that earlier runs have copied. */
function assertKeepsRows(options: object): void {
  const { incremental, mode, deleteMissing } = options as Record<string, unknown>;
  if (incremental === undefined || (mode !== 'replace' && deleteMissing !== true)) return;
  throw new EtlError('ETL-2303', {
    what: `an incremental transfer can't have \`${mode === 'replace' ? "mode: 'replace'" : 'deleteMissing: true'}\``,
    why: 'each run reads only new rows, so the run would remove the rows of earlier runs',
    fix: "use `mode: 'append'`, or `mode: 'merge'` with a `key`; `--full-refresh` reads all rows again",
  });
}

/**
 * Throws `EtlError` ETL-2303 if a default of a config does not exist or has a wrong value. `name` is the name of the
 * object for messages: `defaults`.
 */
export function validateDefaults(defaults: object, name: string): void {
  checkFields(defaults, DEFAULTS, `${name}.`);
}

/** Runs `work`. If it throws an `EtlError` without `where`, adds the location in the user's code. */
export function locateErrors<T>(location: Location, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof EtlError) || error.where !== undefined) throw error;
    throw new EtlError(error.code, {
      what: error.message,
      where: formatLocation(location),
      why: error.why,
      fix: error.fix,
      data: error.data,
      cause: error.cause,
    });
  }
}
