import type { FieldDef, QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { rememberStatement } from '../postgres/failed-statement.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { cutText } from '../secrets/secrets.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { groupDigits } from '../report/words.js';
import { shortenHidden } from '../sql/hide-literals.js';
import { quoteIdentifier } from '../sql/quote.js';
import type { Check } from '../tasks/task.js';

/** The maximum number of rows of a failed check that are counted. */
const MOST_COUNTED = 100_000;
/** The maximum number of rows of a failed check that an error shows. */
const MOST_SHOWN = 10;
/** The maximum length of a row as JSON. */
const ROW_LIMIT = 300;
/** The maximum number of columns that a message names. */
const MOST_COLUMNS = 20;
/** The maximum time for each of the queries that describe the rows of a failed check, in milliseconds. */
const DESCRIBE_MS = 10_000;

/** The connection that runs the checks. */
export interface CheckSite {
  /** The connection with the open transaction of the task. */
  readonly client: ProtocolClient;
  /** The ID of the connection. */
  readonly connectionId: string;
}

/** The rows that a failed check has found. */
interface FoundRows {
  /** The number of rows, at most one more than `MOST_COUNTED`. Undefined if they could not be counted in time. */
  readonly count: number | undefined;
  /** The columns of the query of the check. */
  readonly columns: readonly string[];
  /** The first rows as JSON, with the columns of the key if the query returns them. */
  readonly sample: readonly string[];
}

/**
 * Runs the checks of a task in its transaction, in order. Throws ETL-3101 for the first check that finds a row, with the
 * number of rows and the first rows, because nobody can find the rows after the rollback.
 */
export async function runChecks(site: CheckSite, checks: readonly Check[]): Promise<void> {
  for (const check of checks) {
    const { rows } = await ask(site, check, ['select from (', ') as offending limit 1']);
    if (rows.length > 0) throw createCheckError(check, await findRows(site, check));
  }
}

/**
 * Sends the query of a check between two parts of SQL. The line break before the second part ends a `--` comment at the
 * end of the query. An error of the server gets the text of the check, without the two parts.
 */
async function ask(
  { client, connectionId }: CheckSite,
  { name, sql, values = [] }: Check,
  [before, after]: readonly [string, string],
): Promise<QueryResult> {
  try {
    return await send(client, `${before}${sql.trim().replace(/;$/, '')}\n${after}`, values);
  } catch (error) {
    const refused = findDatabaseError(error);
    if (refused !== undefined) {
      const position = Number(refused.position) - before.length;
      if (position > 0) Object.assign(refused, { position: String(position) });
      const { message } = refused;
      rememberStatement(refused, {
        sql: sql.trim(),
        message,
        index: 0,
        connectionId,
        purpose: `check "${name}"`,
      });
    }
    throw error;
  }
}

/**
 * Counts the rows of a failed check, and reads the first of them. The transaction is rolled back afterwards, so an error
 * of these queries loses nothing: the error of the check then says less.
 */
async function findRows(site: CheckSite, check: Check): Promise<FoundRows> {
  let found: FoundRows = { count: undefined, columns: [], sample: [] };
  try {
    await send(site.client, `set local statement_timeout = ${DESCRIBE_MS}`);
    const { fields } = await ask(site, check, ['select * from (', ') as offending limit 0']);
    found = { ...found, columns: fields.map(({ name }) => name) };
    const list = chooseColumns(fields, await findKey(site.client, fields));
    const asJson =
      'select pg_catalog.left(pg_catalog.to_json(shown)::pg_catalog.text, 500) as line from (select';
    const { rows } = await ask(site, check, [
      `${asJson} ${list} from (`,
      `) as offending limit ${MOST_SHOWN}) as shown`,
    ]);
    found = { ...found, sample: rows.map((row: { line: string }) => cutText(row.line, ROW_LIMIT)) };
    const counted = await ask(site, check, [
      'select pg_catalog.count(*) as count from (select from (',
      `) as offending limit ${MOST_COUNTED + 1}) as counted`,
    ]);
    return { ...found, count: Number((counted.rows[0] as { count: unknown }).count) };
  } catch {
    // The task fails with the error of the check. A query that took too long has nothing to add.
    return found;
  }
}

/** Finds the columns of the primary key among the columns of a query. Returns their positions. */
async function findKey(client: ProtocolClient, fields: readonly FieldDef[]): Promise<readonly number[]> {
  const table = fields.find(({ tableID }) => tableID !== 0)?.tableID;
  if (table === undefined) return [];
  const { rows } = await send(
    client,
    `select pg_catalog.unnest(indkey)::pg_catalog.int4 as attnum from pg_catalog.pg_index
     where indrelid = $1 and indisprimary`,
    [table],
  );
  const key = rows.map(({ attnum }: { attnum: number }) =>
    fields.findIndex(({ tableID, columnID }) => tableID === table && columnID === attnum),
  );
  return key.includes(-1) ? [] : key;
}

/** Returns the SQL list of the columns to show: those of the key, else all. */
function chooseColumns(fields: readonly FieldDef[], key: readonly number[]): string {
  const names = key.map((index) => fields[index]?.name ?? '');
  const isClear = names.every((name) => fields.filter((field) => field.name === name).length === 1);
  return names.length > 0 && isClear ? names.map(quoteIdentifier).join(', ') : '*';
}

/** Creates the error of a check that has found rows. */
function createCheckError({ name, sql }: Check, { count, columns, sample }: FoundRows): EtlError {
  const isConstant = columns.length > 0 && columns.every((column) => column === '?column?');
  const shown = columns.slice(0, MOST_COLUMNS).map((column) => `"${column}"`);
  if (columns.length > MOST_COLUMNS) shown.push(`${columns.length - MOST_COLUMNS} more`);
  const rest = count !== undefined && count > sample.length && sample.length > 0;
  return new EtlError('ETL-3101', {
    what: `check "${name}" failed: its query returned ${describeCount(count)}`,
    why: [
      'a check fails if its query returns a row',
      ...(isConstant || columns.length === 0 ? [] : [`columns of the rows: ${shown.join(', ')}`]),
      `query: ${shortenHidden(sql)}`,
    ].join('\n'),
    fix: isConstant
      ? `select the key of the rows in the query of the check, so that the report can show which rows they are`
      : 'correct these rows (--show-data shows them) in the data that the task reads, or correct the check',
    data: 'the task was rolled back: no other session saw its data',
    rowData:
      isConstant || sample.length === 0
        ? undefined
        : [...sample, ...(rest ? [`… of ${describeCount(count)}`] : [])].join('\n'),
    check: { name, rows: count === undefined ? undefined : Math.min(count, MOST_COUNTED), columns },
  });
}

/** Describes a number of rows: `1 row`, `12 rows`, `more than 100,000 rows`, or `rows` if nobody counted them. */
function describeCount(count: number | undefined): string {
  if (count === undefined) return 'rows';
  if (count > MOST_COUNTED) return `more than ${groupDigits(MOST_COUNTED)} rows`;
  return `${groupDigits(count)} ${count === 1 ? 'row' : 'rows'}`;
}
