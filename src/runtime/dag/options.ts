import { EtlError } from '../../errors.js';
import { showValue } from '../json.js';
import {
  aFunction,
  aPlainObject,
  aStatement,
  aStatementOrList,
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

const ISOLATIONS = ['read committed', 'repeatable read', 'serializable'];

/** Accepts a string that is not empty, or a function. */
const textOrFunction: Rule = (value, name) =>
  typeof value === 'function' ? undefined : text(value, name) && 'a text that is not empty, or a function';
/** Accepts the SQL of a sql task, or a function that returns it. An empty list would do nothing and succeed. */
const sqlOrFunction: Rule = (value, name) => {
  if (typeof value === 'function') return undefined;
  if (Array.isArray(value) && value.length === 0) return 'at least one statement';
  return aStatementOrList(value, name);
};
/** Accepts one query, or a function that returns it. */
const queryOrFunction: Rule = (value, name) =>
  typeof value === 'function' ? undefined : aStatement(value, name);
/** Accepts the tasks that must succeed first. The builder checks each of them. */
const needs: Rule = (value, name) =>
  Array.isArray(value) ? undefined : aPlainObject(value, name) && 'an array of tasks, or an object of tasks';
/**
 * Accepts a character that separates or quotes the fields of CSV: a tab or an ASCII punctuation mark, such as `;` or
 * `'`. Letters, digits and spaces can be a part of a value. COPY refuses a backslash.
 */
const csvMark: Rule = (value) =>
  typeof value === 'string' && /^[\t!-/:-@[-`{-~]$/.test(value) && value !== '\\'
    ? undefined
    : 'one ASCII character that is no letter, digit, space or backslash';
/** Accepts an object with exactly one of the fields `rows`, `bytes` and `by`. */
const partition: Rule = (value, name) => {
  const expected = fields({ rows: positive, bytes: positive, by: text })(value, name);
  if (expected !== undefined) return expected;
  const given = Object.values(value as object).filter((each) => each !== undefined);
  return given.length === 1 ? undefined : 'either `rows`, `bytes` or `by`';
};
/**
 * Creates the rule of the option `incremental`. `inputs` are the rules of the fields that say what the task reads:
 *
 * - A sql task has the inputs `table` and `query`. Its `incremental` must have exactly one of these two fields.
 * - A transfer has no inputs here, because the transfer task itself has the options `table` and `query`.
 *
 * In both cases `cursor` is required.
 */
const createIncrementalRule =
  (inputs: Readonly<Record<string, Rule>>): Rule =>
  (value, name) => {
    const wrong = fields({ ...INCREMENTAL, ...inputs })(value, name);
    if (wrong !== undefined) return wrong;
    const has = (option: string): boolean => (value as Record<string, unknown>)[option] !== undefined;
    if (!has('cursor')) return 'an object with the name of a `cursor`';
    const names = Object.keys(inputs);
    if (names.length === 0 || names.filter(has).length === 1) return undefined;
    return `an object with one of ${names.map((each) => `\`${each}\``).join(' and ')}`;
  };
/** The rules of the fields of `backoff`. */
const BACKOFF = { initial: duration, factor, max: duration, jitter: flag };
/** The rules of the options that a config or a Dag can set for all of its tasks. */
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
/** The rule of one check. */
const CHECK = fields({ name: text, sql: text, values: listOf(anything) }, ['name', 'sql']);
/** The rules of the fields of `incremental`, without those that say what the task reads. */
const INCREMENTAL = { cursor: text, initial: text, lag: duration, timeZone: text };
/** The rules of the options that every kind of task has, without `DEFAULTS`. */
const COMMON = { needs, tags: listOf(text), with: anything };
/** The rules of the options of a task that works in a transaction. */
const TRANSACTIONAL = { ...DEFAULTS, ...COMMON, checks: listOf(CHECK) };
/** The rules of the options of a task without a connection. */
const { conn: _conn, isolation: _isolation, ...PLAIN } = { ...DEFAULTS, ...COMMON };

/** The rules of the options of a task that only reads its database. */
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
/** The rules of the options of an unload, without the options of every task. */
const UNLOAD = {
  query: queryOrFunction,
  table: text,
  to: textOrFunction,
  format: oneOf(['csv', 'ndjson', 'parquet']),
  compression: oneOf(['gzip', 'brotli', 'zstd', 'none']),
  csv,
  partition,
};

/** All options of each kind of task. */
const RULES_OF_KIND: Readonly<Record<TaskKind, Readonly<Record<string, Rule>>>> = {
  session: { ...TRANSACTIONAL, reads: listOf(text) },
  sql: {
    ...TRANSACTIONAL,
    sql: sqlOrFunction,
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
    query: queryOrFunction,
    into: text,
    mode: oneOf(['append', 'replace', 'merge']),
    key: listOf(text),
    deleteMissing: flag,
    incremental: createIncrementalRule({}),
  },
  task: PLAIN,
};

/** The options that each kind of task must have. */
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

/** The rules of the options of a Dag. */
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

/** Throws `EtlError` ETL-2303, with the location, if an option of a Dag does not exist or has a wrong value. */
export function validateDagOptions(options: object, location: Location): void {
  locateErrors(location, () => {
    assertIsObject(options, 'a Dag');
    const callback = ['onSuccess', 'onFailure'].find((name) => Object.hasOwn(options, name));
    if (callback !== undefined)
      throw new EtlError('ETL-2303', {
        what: `\`${callback}\` of a Dag is not among its options`,
        fix: `pass it as the fourth argument: dag(id, options, define, { ${callback}: … })`,
      });
    checkFields(options, DAG, '');
    const { schedule, timezone, startDate } = options as Record<string, unknown>;
    const needsSchedule = timezone !== undefined || startDate !== undefined;
    if (schedule === undefined && needsSchedule) {
      throw new EtlError('ETL-2303', {
        what: '`timezone` and `startDate` belong to a `schedule`, but the Dag has no `schedule`',
        fix: 'add `schedule`, or remove `timezone` and `startDate`',
      });
    }
  });
}

/**
 * Throws `EtlError` ETL-2303, with the location, for a mistake in the options of a task:
 *
 * - an option that this kind of task does not have, an option with a wrong value, or a required option that is missing
 * - both or none of two options of which the task needs one, such as `query` and `table` of an unload
 * - options that contradict each other, such as `incremental` and `mode: 'replace'`
 */
export function validateTaskOptions(kind: TaskKind, options: object, location: Location): void {
  locateErrors(location, () => {
    assertIsObject(options, `a ${kind} task`);
    checkFields(options, RULES_OF_KIND[kind], '');
    const has = (name: string): boolean => (options as Record<string, unknown>)[name] !== undefined;
    const missing = REQUIRED[kind]?.find((name) => !has(name));
    if (missing !== undefined)
      throw new EtlError('ETL-2303', { what: `a ${kind} task needs \`${missing}\`` });
    if (has('mode')) assertMode(options as Record<string, unknown>);
    const [one, other] = EITHER[kind] ?? [];
    const isPair = one !== undefined && other !== undefined;
    if (isPair && has(one) === has(other))
      // Both are given, or both are missing.
      throw new EtlError('ETL-2303', { what: `a ${kind} task needs either \`${one}\` or \`${other}\`` });
    if (kind === 'transfer') assertKeepsRows(options);
    const { sql, incremental } = options as Record<string, unknown>;
    // A fixed text can't contain the bounds of the range. A file can: it binds `:low` and `:high`.
    const isFixedText = sql !== undefined && typeof sql !== 'function';
    if (kind === 'sql' && incremental !== undefined && isFixedText) {
      throw new EtlError('ETL-2303', {
        what: 'the `sql` of an incremental task must be a function, or be in a `file`',
        fix: 'sql: ({ incremental: { low, high } }) => ({ text: …, values: [low, high] })',
      });
    }
  });
}

/**
 * Throws `EtlError` ETL-2303 if the options of a Dag or a task are not a plain object, for example if they are missing.
 */
function assertIsObject(options: unknown, what: string): void {
  if (aPlainObject(options, '') === undefined) return;
  throw new EtlError('ETL-2303', {
    what: `the options of ${what} must be an object, got ${showValue(options)}`,
    fix: 'pass the options as the second argument; without options, pass {}',
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
 * Throws `EtlError` ETL-2303 if `defaults` of a config has an unknown option, or an option with a wrong value. Messages
 * name an option as `<name>.<option>`, for example `defaults.retries`.
 */
export function validateDefaults(defaults: object, name: string): void {
  checkFields(defaults, DEFAULTS, `${name}.`);
}

/**
 * Runs `work` and returns its result. If `work` throws an `EtlError` without `where`, throws a copy of the error whose
 * `where` is the location in the user's code. Every other error is thrown unchanged.
 */
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
