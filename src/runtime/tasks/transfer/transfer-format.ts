import type { TableColumn } from '../../table/describe.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import { send } from '../../postgres/protocol.js';
import type { SelectedColumn } from './selection.js';

/**
 * OIDs below this value are fixed in PostgreSQL and the same in every database. Higher OIDs are assigned by initdb or
 * later.
 */
const FIRST_GENERATED_OID = 10_000;
/** The OIDs of `text`, `bpchar` and `varchar`, which have the same binary format. */
const TEXTS: ReadonlySet<number> = new Set([25, 1042, 1043]);

/**
 * Chooses the COPY format of a transfer. Returns `binary` if each column of `from` has the same built-in type in `to`, or
 * if both types are text types. Otherwise returns `text`, which works for every type.
 *
 * Types such as `regclass` need `text` as well. Their bytes are the OID of an object, and the other database has another
 * object with this OID.
 *
 * Lengths and precisions may differ: the table that is written applies its own in both formats.
 */
export function chooseFormat(from: readonly SelectedColumn[], to: readonly TableColumn[]): 'binary' | 'text' {
  const oids = new Map(to.map(({ name, oid }) => [name, oid]));
  const isSame = ({ name, type, oid }: SelectedColumn): boolean => {
    const targetOid = oids.get(name);
    if (targetOid === undefined || oid >= FIRST_GENERATED_OID || type.startsWith('reg')) return false;
    return targetOid === oid || (TEXTS.has(oid) && TEXTS.has(targetOid));
  };
  return from.every(isSame) ? 'binary' : 'text';
}

/**
 * Settings with which a text means the same in both databases, whatever the databases or roles have set. Numbers keep
 * all digits. Dates, intervals, bytes, amounts of money and XML can be read in only one way.
 */
const PORTABLE_SETTINGS = {
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  extra_float_digits: '3',
  bytea_output: 'hex',
  lc_monetary: 'C',
  xmloption: 'content',
};

/**
 * Runs `work` with `PORTABLE_SETTINGS` on a connection, and restores the previous settings afterwards. Does not restore
 * them if `work` throws: the transaction is rolled back then, and the settings end with the transaction.
 */
export async function withPortableText<T>(
  taskConnection: TaskConnection,
  work: () => Promise<T>,
): Promise<T> {
  const names = Object.keys(PORTABLE_SETTINGS);
  const { rows } = await send(
    taskConnection,
    `select current_setting(name) as value from unnest($1::text[]) with ordinality as s (name, number) order by number`,
    [names],
  );
  await setSettings(taskConnection, names, Object.values(PORTABLE_SETTINGS));
  const result = await work();
  await setSettings(
    taskConnection,
    names,
    rows.map((row) => (row as { value: string }).value),
  );
  return result;
}

/** Sets settings until the end of the transaction. `values` are in the order of `names`. */
async function setSettings(
  taskConnection: TaskConnection,
  names: readonly string[],
  values: readonly string[],
): Promise<void> {
  await send(
    taskConnection,
    'select set_config(name, value, true) from unnest($1::text[], $2::text[]) as s (name, value)',
    [names, values],
  );
}
