import type { Row } from '../../copy/encode.js';
import type { Transform } from '../../format/transform.js';

/**
 * `transform`, of whose rows only these columns are kept. `left` collects the names of the others.
 */
export function keeping(
  columns: ReadonlySet<string>,
  transform: Transform | undefined,
  left: Set<string>,
): Transform {
  const keep = (row: Row): Row => {
    const kept: Record<string, unknown> = {};
    for (const name in row) {
      if (columns.has(name)) kept[name] = row[name];
      else left.add(name);
    }
    return kept;
  };
  if (transform === undefined) return keep;
  return (row) => {
    const made = transform(row);
    if (made === undefined || made === null) return made;
    return isList(made) ? made.map(keep) : keep(made);
  };
}

function isList(made: Row | readonly Row[]): made is readonly Row[] {
  return Array.isArray(made);
}
