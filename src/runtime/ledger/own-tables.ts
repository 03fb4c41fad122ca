import { EtlError } from '../../errors.js';
import type { LedgerSchema } from './ledger.js';

/**
 * The tables of the ledger with the columns that each version of the ledger has. A relation with the name of a table but
 * without one of its columns belongs to another program.
 */
export const TABLES = {
  migration: 'version applied_at',
  seal: 'id',
  lock: 'dag_id epoch holder run_id pid host taken_at',
  run: 'run_id dag_id state interval_start interval_end params task_count full_refresh resumes pid host version by_task started_at finished_at',
  task: 'run_id task_id map_key dag_id state fingerprint attempt result rows pid xid started_at committed_at seal',
  attempt: 'id run_id task_id map_key attempt state code sqlstate message started_at finished_at',
  watermark: 'dag_id task_id map_key name value type run_id set_at',
  watermark_history: 'id dag_id task_id map_key name value type run_id set_by set_at',
} as const;

/** The columns of the relations that a schema has under the names of the ledger's tables. */
export type FoundTables = Readonly<Record<string, readonly string[]>>;

/** The maximum number of columns that an error lists. */
const MOST_COLUMNS = 8;

/**
 * Returns true if the schema has the tables of a ledger, and false if it has none of their names. Throws ETL-4008 if the
 * schema has relations of these names that are not the ledger's.
 */
export function assertOwnTables(
  found: FoundTables,
  { schema, databaseName }: { readonly schema: LedgerSchema; readonly databaseName: string },
): boolean {
  if (Object.keys(found).length === 0) return false;
  const problems = Object.entries(TABLES).flatMap(([table, columns]) => {
    const own = found[table];
    if (own === undefined) return [`${schema.name}.${table} does not exist`];
    const absent = columns.split(' ').filter((column) => !own.includes(column));
    if (absent.length === 0) return [];
    return [`${schema.name}.${table} has the columns ${listNames(own)}, and no column ${listNames(absent)}`];
  });
  if (problems.length === 0) return true;
  throw new EtlError('ETL-4008', {
    what: `the schema "${schema.name}" in ${databaseName} has tables that are not the ledger of this program`,
    why: problems.join('\n'),
    fix: "name another schema for the ledger in the config: ledger: { schema: 'etl_ledger' }",
    data: 'nothing was changed',
  });
}

/** Lists names: `id, name`. A list of more than eight names ends with `…`. */
function listNames(names: readonly string[]): string {
  return `${names.slice(0, MOST_COLUMNS).join(', ')}${names.length > MOST_COLUMNS ? ', …' : ''}`;
}
