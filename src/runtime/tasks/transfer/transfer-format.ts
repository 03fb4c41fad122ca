import type { TableColumn } from '../../table/describe.js';
import type { TaskConnection } from '../../postgres/task-connection.js';
import { send } from '../../postgres/protocol.js';
import type { SelectedColumn } from './selection.js';

/** The OIDs below are given by hand and are the same in every database; those above by initdb, or later. */
const FIRST_GENERATED_OID = 10_000;
/** `text`, `varchar` and `bpchar` differ in what they allow, and not in how they are sent. */
const TEXTS: ReadonlySet<number> = new Set([25, 1042, 1043]);

/**
 * `binary` where each column has the same type on both sides, and the same bytes mean the same there: not those that
 * name things of a database by OID (`regclass`). Anything else goes as text, which every type reads as it writes it.
 * Lengths and precisions need not agree: the target applies its own in either format.
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
 * Settings by which a text means the same on both sides, whatever the two databases or logins have set: all digits, and
 * dates, intervals, bytes, amounts and documents that can be read in one way only.
 */
const PORTABLE_SETTINGS = {
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  extra_float_digits: '3',
  bytea_output: 'hex',
  lc_monetary: 'C',
  xmloption: 'content',
};

/** Runs `work` with the settings above on a connection, and puts back those that were there. */
export async function withPortableText<T>(
  taskConnection: TaskConnection,
  work: () => Promise<T>,
): Promise<T> {
  const names = Object.keys(PORTABLE_SETTINGS);
  const { rows } = await send(
    taskConnection,
    `select current_setting(name) as value from unnest($1::text[]) with ordinality as s (name, place) order by place`,
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
