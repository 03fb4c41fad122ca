import type { TableColumn } from '../../table/describe.js';
import { isBinaryPortable, isSameBinary } from '../../postgres/type-form.js';
import type { SelectedColumn } from './selection.js';

/**
 * Chooses the COPY format of a transfer. Returns `binary` if each column of `from` has the same built-in type in `to`, or
 * if both types are text types. Otherwise returns `text`, which works for every type.
 *
 * Lengths and precisions may differ: the table that is written applies its own in both formats.
 */
export function chooseFormat(from: readonly SelectedColumn[], to: readonly TableColumn[]): 'binary' | 'text' {
  const oids = new Map(to.map(({ name, oid }) => [name, oid]));
  const isSame = ({ name, type, oid }: SelectedColumn): boolean => {
    const targetOid = oids.get(name);
    return targetOid !== undefined && isBinaryPortable(oid, type) && isSameBinary(oid, targetOid);
  };
  return from.every(isSame) ? 'binary' : 'text';
}
