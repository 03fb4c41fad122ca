import { createHash } from 'node:crypto';
import type { ProtocolClient } from '../postgres/protocol.js';
import { quoteIdentifier } from '../sql/quote.js';

/** The schema that has the tables of a ledger. */
export interface LedgerSchema {
  /** The name, for messages. */
  readonly name: string;
  /** The name, quoted for SQL. */
  readonly sql: string;
}

/** The name of the schema, if the config does not set `ledger.schema`. */
export const DEFAULT_SCHEMA = 'etl';

/** Returns the ledger's schema with this name. Throws `EtlError` ETL-3008 for a name that PostgreSQL would change. */
export function nameSchema(name: string = DEFAULT_SCHEMA): LedgerSchema {
  return { name, sql: name === DEFAULT_SCHEMA ? name : quoteIdentifier(name) };
}

/**
 * Returns a function that builds a text once for each schema. A prepared statement is found by its text, and a new text
 * takes longer to build and to find.
 */
export function buildOnce(build: (schema: LedgerSchema) => string): (schema: LedgerSchema) => string {
  const texts = new WeakMap<LedgerSchema, string>();
  return (schema) => {
    let text = texts.get(schema);
    if (text === undefined) texts.set(schema, (text = build(schema)));
    return text;
  };
}

/** A connection to the database of a ledger, and the ledger's schema. `Client` is what the connection can do. */
export interface Ledger<Client = ProtocolClient> {
  readonly client: Client;
  readonly schema: LedgerSchema;
}

/** The server keeps the first 63 bytes of an `application_name`. */
const NAME_BYTES = 63;
/** The maximum length of the part of an `application_name` that names the Dag, with the slash at its end. */
const DAG_PART_LENGTH = 40;

/**
 * Returns the `application_name` of a task, which `pg_stat_activity` shows: `etl:<dag>/<task>`. The first word is the
 * name of the ledger's schema. The name identifies the task: where the full name is too long for the server, or has
 * characters that the server would replace, the end of a part is replaced by a hash of the part.
 */
export function formatSessionName(schema: LedgerSchema, dagId: string, taskId: string): string {
  const dagPart = formatSessionPrefix(schema, dagId);
  return dagPart + shorten(taskId, NAME_BYTES - dagPart.length);
}

/** Returns the beginning of the `application_name` of all tasks of a Dag, which no other Dag has: `etl:<dag>/`. */
export function formatSessionPrefix({ name }: LedgerSchema, dagId: string): string {
  return `${shorten(`${name}:${dagId}`, DAG_PART_LENGTH - '/'.length)}/`;
}

/** Returns a text of at most `limit` ASCII characters, and another text for each other `text`. */
function shorten(text: string, limit: number): string {
  // The server replaces all other characters of an application_name.
  if (text.length <= limit && /^[ -~]*$/.test(text)) return text;
  // No ID of a Dag or a task has the character `~`.
  const hash = `~${createHash('sha256').update(text).digest('hex').slice(0, 12)}`;
  return text.replaceAll(/[^ -~]/g, '?').slice(0, limit - hash.length) + hash;
}

/** Returns the name from which the key of a Dag's lock is computed: `etl:<dag>`. */
export function formatLockName({ name }: LedgerSchema, dagId: string): string {
  return `${name}:${dagId}`;
}
