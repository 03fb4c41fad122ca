/** Settings of a session, by name. */
export type Settings = Readonly<Record<string, string>>;

/**
 * Settings that every transaction of a task and every read session has, whatever the role, the database or the server
 * has set. Without them a value would have another text, which pg reads wrongly or not at all, or would lose digits.
 *
 * - `DateStyle`: pg reads only ISO. The order of day and month stays as it was set, because the user's texts are
 *   written in this order.
 * - `IntervalStyle`: pg reads only this style. The style also decides what `-1 2:03` means.
 * - `extra_float_digits`: all digits of `real` and `double precision`.
 * - `xmloption`: every value of `xml` can be read again.
 * - `array_nulls`: NULL in an array is not the text `NULL`.
 * - `quote_all_identifiers`: the names of types, which the runner compares.
 *
 * `TimeZone` is not in the list: it changes the text of a `timestamptz`, but not the instant. `current_date` and texts
 * without an offset depend on it, so it stays as the user has set it.
 */
export const VALUE_SETTINGS: Settings = {
  DateStyle: 'ISO',
  IntervalStyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
  xmloption: 'content',
  array_nulls: 'on',
  quote_all_identifiers: 'off',
};

/**
 * Additional settings of both databases of a transfer. A `timestamptz` that becomes a `timestamp` or a `text`, or the
 * other way round, is converted in UTC. Amounts of `money` have the same notation.
 */
export const TRANSFER_SETTINGS: Settings = { TimeZone: 'UTC', lc_monetary: 'C' };

/** Returns a call of `set_config` for each setting, which sets it until the end of the transaction. */
export function buildSetCalls(settings: Settings): readonly string[] {
  return Object.entries(settings).map(
    ([name, value]) => `pg_catalog.set_config('${name}', '${value}', true)`,
  );
}
