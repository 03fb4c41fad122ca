import { EtlError, type ErrorCause } from '../../errors.js';
import { describeServerError, hideValues } from '../postgres/server-error.js';
import { cutText } from '../secrets/secrets.js';
import { findDatabaseError } from '../postgres/sqlstate.js';

/** The maximum depth of a chain of causes. */
const MOST_LEVELS = 8;
/** The maximum number of causes of one error. */
const MOST_CAUSES = 20;
/** The maximum length of a cause's message, in UTF-16 units. */
const MESSAGE_LIMIT = 1000;

/** The state of one walk along the causes of an error. */
interface Walk {
  /** The errors that were visited already, because a chain can be a circle. */
  readonly visited: Set<unknown>;
  /** The number of causes that may still be listed. */
  left: number;
}

/**
 * Lists the causes of an error as a tree: the chain of `cause`, and each error of an `AggregateError`. A cause whose
 * message the error above it contains already is left out, but not its own causes.
 *
 * Values of rows in the message of a server are replaced by `…`. Knex's own part of such a message, the SQL, is left
 * out. Never throws, also if a getter of an error throws.
 *
 * `why` of one of our own errors tells its first cause in our words, so this cause is left out too. ETL-3001 has the words
 * of another program.
 */
export function listCauses(error: EtlError): readonly ErrorCause[] {
  const { code, what, where = '', why = '' } = error;
  const walk: Walk = { visited: new Set<unknown>([error]), left: MOST_CAUSES };
  const above = [code, what, where, why].join('\n');
  const isTold = why !== '' && code !== 'ETL-3001' && error.cause !== undefined;
  return listChildren(isTold ? error.cause : error, above, { walk, depth: 1 });
}

/** Lists the causes of one error. `above` is the text that is shown above them. */
function listChildren(
  error: unknown,
  above: string,
  { walk, depth }: { readonly walk: Walk; readonly depth: number },
): ErrorCause[] {
  const found: ErrorCause[] = [];
  for (const child of readChildren(error)) {
    if (walk.visited.has(child)) continue;
    if (depth > MOST_LEVELS || walk.left <= 0) {
      found.push({ message: '… more causes' });
      break;
    }
    walk.visited.add(child);
    const own = describeCause(child);
    const isShown = contains(above, own.message);
    const inner = listChildren(child, isShown ? above : `${above}\n${own.message}`, {
      walk,
      depth: depth + 1,
    });
    if (isShown && (own.message !== '' || inner.length === 0)) {
      found.push(...inner);
      continue;
    }
    walk.left--;
    found.push(inner.length === 0 ? own : { ...own, causes: inner });
  }
  return found;
}

/** The minimum length of a message that is searched within a line. A shorter message can be a part of a word. */
const SHORTEST_PART = 12;

/** Returns true if the text above a cause contains the message of the cause already. An empty message says nothing. */
function contains(above: string, message: string): boolean {
  if (message.length === 0 || message.length >= SHORTEST_PART) return above.includes(message);
  return above.split('\n').some((line) => line === message || line.endsWith(`: ${message}`));
}

/** Returns the errors of an `AggregateError`, and then the cause of an error. */
export function readChildren(error: unknown): readonly unknown[] {
  if (!isObject(error)) return [];
  const errors = read(error, 'errors');
  const cause = read(error, 'nativeError') ?? read(error, 'cause');
  const several =
    error instanceof AggregateError && Array.isArray(errors)
      ? (errors as unknown[]).slice(0, MOST_CAUSES + 1)
      : [];
  return cause === undefined || cause === null ? several : [...several, cause];
}

/** Describes one cause: an error by its name, message and code, or a thrown value as text. */
export function describeCause(thrown: unknown): ErrorCause {
  if (!isObject(thrown)) return { message: cutText(String(thrown), MESSAGE_LIMIT) };
  if (thrown instanceof EtlError) return { name: thrown.code, message: cutText(thrown.what, MESSAGE_LIMIT) };
  const [name, message, code] = ['name', 'message', 'code'].map((property) => {
    const value = read(thrown, property);
    return typeof value === 'string' ? value : '';
  });
  const text = cutText(hide(thrown, message ?? ''), MESSAGE_LIMIT);
  // The driver calls each error of a server `error`. Its code is the SQLSTATE.
  const isNamed = name !== '' && name !== 'error';
  return { ...(isNamed && { name }), message: text, ...(code && !text.includes(code) && { code }) };
}

/** Returns the message of an error without values of rows: of a server's error, or of an error around it. */
function hide(error: object, message: string): string {
  const database = findDatabaseError(error);
  if (database === undefined) return message;
  return error === database ? describeServerError(database).message : hideValues(message, database);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** Reads a property. Returns undefined if its getter throws. */
function read(value: object, property: string): unknown {
  try {
    return (value as Readonly<Record<string, unknown>>)[property];
  } catch {
    // The reason of the failure is this error's message, and the getter has hidden it.
    return undefined;
  }
}
