import type { DatabaseError } from '../../postgres/sqlstate.js';

/**
 * The classes of SQLSTATE that lie outside of the data: connections, states of the transaction, conflicts with other
 * transactions, resources, operators, and the system. https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const OUTSIDE_CLASSES: ReadonlySet<string> = new Set(['08', '25', '28', '40', '53', '55', '57', '58']);

/**
 * The classes of SQLSTATE whose errors come from values: a subquery of a trigger that finds several rows (21), data (22),
 * constraints (23), external functions (38), check options (44), limits such as the size of an index row (54), and
 * exceptions of PL/pgSQL (20, P0).
 */
const DATA_CLASSES: ReadonlySet<string> = new Set(['20', '21', '22', '23', '38', '44', '54', 'P0']);

/** The function of PL/pgSQL that runs RAISE. A trigger can raise any SQLSTATE. */
const RAISE = 'exec_stmt_raise';

/**
 * The beginning of the line of an error's context that names the line of a COPY, and the character after the number. The
 * words depend on the language of the server. A comma means that a value follows, which PostgreSQL has read when the error
 * occurred: `COPY t, line 2, column geom: "x"`. Only the input function of a type and the constraints of a domain run then.
 */
const COPY_LINE = /^COPY .*?, [^\d,:]*\d+(.?)/m;

/**
 * Returns true if a row can be the reason for an error of a COPY. The caller must have checked that a COPY without rows
 * is accepted: a wrong option and a trigger of the statement also raise errors of the class 22, or P0001.
 *
 * An input function may raise any SQLSTATE. Those of extensions raise XX000 for a value that they can't read, and `regclass`
 * raises 42P01. Elsewhere, XX000 means that PostgreSQL itself has failed, and class 42 that an object is missing.
 */
export function isRowError({ code, where = '', routine }: DatabaseError): boolean {
  const stateClass = code.slice(0, 2);
  if (OUTSIDE_CLASSES.has(stateClass)) return false;
  if (DATA_CLASSES.has(stateClass) || routine === RAISE) return true;
  const line = COPY_LINE.exec(where);
  if (line?.[1] !== ',') return false;
  if (code === 'XX000') return true;
  // A function of a domain comes before the line of COPY in the context. Then an object that is missing is not the value.
  return line.index === 0 && code !== '42501' && (stateClass === '42' || stateClass === '3F');
}
