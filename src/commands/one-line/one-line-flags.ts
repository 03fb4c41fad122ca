import * as Flags from '@oclif/core/flags';
import { hash } from 'node:crypto';
import { normalize, sep } from 'node:path';
import { EtlError } from '../../errors.js';
import { hideLiterals } from '../../runtime/sql/hide-literals.js';
import { quoteTable } from '../../runtime/sql/quote.js';

/** The longest ID of a Dag. */
const LONGEST_ID = 100;

/**
 * Builds the ID of a Dag from the thing that its task writes: `load.orders`. If the name has characters that an ID can't
 * have, or is too long, a part of its hash keeps the ID apart from the IDs of similar names.
 */
export function buildDagId(command: string, name: string): string {
  const exact = `${command}.${name}`;
  const id = exact.replaceAll(/[^A-Za-z0-9_.-]/g, '-');
  if (id === exact && id.length <= LONGEST_ID) return id;
  const end = `-${hash('sha256', name).slice(0, 8)}`;
  return `${id.slice(0, LONGEST_ID - end.length)}${end}`;
}

/** Builds the ID of the Dag of a file. `./a.csv` and `a.csv` have the same ID. */
export function buildFileDagId(command: string, path: string): string {
  return buildDagId(command, normalize(path).replaceAll(sep, '/'));
}

/** Builds the ID of the Dag of an SQL text: `sql.1f0c3e9a2b47`. */
export function buildTextDagId(command: string, text: string): string {
  return `${command}.${hash('sha256', text).slice(0, 12)}`;
}

/** Returns the ID of the connection that a value `id` or `id=url` names. */
export function readConnectionId(value: string): string {
  return value.split('=', 1)[0] ?? '';
}

/** Returns a table of a flag. Throws ETL-2001 if it is not of the form `table` or `schema.table`. */
export function parseTable(flag: string, table: string): string {
  try {
    quoteTable(table);
    return table;
  } catch (cause) {
    if (!(cause instanceof EtlError)) throw cause;
    const { what, fix } = cause;
    throw new EtlError('ETL-2001', { what: `${flag}: ${what}`, fix, data: 'nothing was started', cause });
  }
}

/** Creates the error of a command line that contradicts itself. */
export function createLineError(command: string, what: string, fix?: string): EtlError {
  return new EtlError('ETL-2001', {
    what,
    fix: fix ?? `see etl ${command} --help`,
    data: 'nothing was started',
  });
}

/** The flags of the commands that write to a table. */
export const TARGET_FLAGS = {
  mode: Flags.string({
    description:
      'append adds the rows, replace deletes the old rows first, merge updates the rows with the same --key and adds the others.',
    options: ['append', 'replace', 'merge'],
    required: true,
  }),
  key: Flags.string({
    description: 'With --mode merge: the columns that identify a row.',
    helpValue: 'column,…',
    multiple: true,
    multipleNonGreedy: true,
    delimiter: ',',
  }),
  'delete-missing': Flags.boolean({
    description: 'With --mode merge: delete the rows whose key is not in the data.',
  }),
};

/** The values of `TARGET_FLAGS`. */
interface TargetFlags {
  readonly mode: string;
  readonly key?: readonly string[] | undefined;
  readonly 'delete-missing': boolean;
}

/** Returns the options of a task that writes to a table. Throws ETL-2001 if `--key` and `--mode` do not fit. */
export function readTarget(command: string, flags: TargetFlags) {
  const { key, 'delete-missing': deleteMissing } = flags;
  const mode = flags.mode as 'append' | 'replace' | 'merge';
  if (mode === 'merge' && key === undefined)
    throw createLineError(
      command,
      '--mode merge needs --key',
      'name the columns that identify a row: --key id',
    );
  if (mode !== 'merge' && (key !== undefined || deleteMissing))
    throw createLineError(command, '--key and --delete-missing need --mode merge');
  return { mode, key, ...(deleteMissing ? { deleteMissing } : {}) };
}

/** The flags about CSV files that a load and an unload share. */
export const CSV_FLAGS = {
  delimiter: Flags.string({ description: String.raw`CSV: one ASCII character between fields; \t is a tab.` }),
  quote: Flags.string({ description: 'CSV: one ASCII character around a value.' }),
  null: Flags.string({ description: 'CSV: the text that means NULL. Default: the empty text.' }),
  header: Flags.boolean({ description: 'CSV: the first line has the column names.', allowNo: true }),
  encoding: Flags.string({ description: 'CSV: the encoding, such as latin1. Default: UTF-8.' }),
};

/** The values of `CSV_FLAGS`. */
interface CsvFlags {
  readonly delimiter?: string | undefined;
  readonly quote?: string | undefined;
  readonly null?: string | undefined;
  readonly header?: boolean | undefined;
  readonly encoding?: string | undefined;
}

/** Returns the options of `csv`, or no option if no flag is given. `more` are the options of one kind of task. */
export function readCsv<T extends object>(flags: CsvFlags, more: T) {
  const { delimiter, quote, header, encoding } = flags;
  const mark = delimiter === String.raw`\t` ? '\t' : delimiter;
  const csv = omitUndefined({ delimiter: mark, quote, null: flags.null, header, encoding, ...more });
  return Object.keys(csv).length === 0 ? {} : { csv };
}

/** Returns an object without the properties that are undefined. */
export function omitUndefined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** The value of a flag, as oclif parses it. */
type FlagValue = string | number | boolean | readonly string[] | undefined;

/**
 * Writes the flags with these names as words: `{ into: 't', key: ['a', 'b'], header: false }` -> `--into t --key a --key b
 * --no-header`. Only `--header` has a negative form.
 */
export function listFlagWords(
  names: readonly string[],
  flags: Readonly<Record<string, unknown>>,
): readonly string[] {
  return names.flatMap((name) => {
    const value = flags[name] as FlagValue;
    if (value === undefined || (value === false && name !== 'header')) return [];
    if (typeof value === 'boolean') return [value ? `--${name}` : `--no-${name}`];
    return [value].flat().flatMap((each) => [`--${name}`, String(each)]);
  });
}

/**
 * Returns an SQL text for a command that is printed. A text with constants can hold values of rows, so `<sql>` stands for it
 * where these may not be shown.
 */
export function formatSqlWord(text: string, showsRowData: boolean): string {
  return showsRowData || hideLiterals(text) === text ? text : '<sql>';
}
