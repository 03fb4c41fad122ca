import { parseJson, normalizeScheme } from './airflow/airflow-json.js';
import { parseUri } from './airflow/airflow-uri.js';
import { createConnection, type Connection, type ConnectionFields } from './connection.js';
import { createMalformedError, URI_FORM, type ConnectionDefinition } from './definition.js';
import { parsePgliteDirectory } from './pglite/pglite-directory.js';
import { buildFields, parseConninfoText, parseConninfoUri } from './postgres/conninfo.js';

/**
 * Parses a connection from libpq's URI or key words, from Airflow's URI or JSON form, or from `pglite:<directory>`. Throws
 * ETL-2201 if the text is malformed. The error never quotes the text.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
 * https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html
 */
export function parseConnection(id: string, text: string, definedBy: string): Connection {
  const definition = { id, definedBy, text: text.trim() };
  return createConnection({ id, definedBy, ...readFields(definition) });
}

/** Reads the fields by the form that the text has. */
function readFields(definition: ConnectionDefinition): ConnectionFields {
  const { text } = definition;
  if (text === '')
    throw createMalformedError(definition, { why: 'the value is empty', fix: `write ${URI_FORM}` });
  if (text.startsWith('{')) return parseJson(definition);
  const directory = /^pglite:(?:\/\/)?(.*)$/is.exec(text)?.[1];
  // The directory is not percent-decoded, because users write a path without percent-encoding.
  if (directory !== undefined) return parsePgliteDirectory(definition, directory);
  const scheme = /^([a-z][a-z0-9+._-]*):\/\//i.exec(text)?.[1];
  if (scheme === undefined) return readOtherForm(definition);
  const isLibpq = normalizeScheme(scheme) === 'postgres' && !isWrittenByAirflow(definition);
  return isLibpq ? buildFields(parseConninfoUri(definition)) : parseUri(definition, scheme);
}

/**
 * Says whether Airflow has written a URI. Its variables always have its form, and only Airflow writes the parameter
 * `__extra__`.
 */
function isWrittenByAirflow({ definedBy, text }: ConnectionDefinition): boolean {
  return definedBy.startsWith('AIRFLOW_CONN_') || /[?&]__extra__=/.test(text);
}

/** Reads libpq's key words. Throws ETL-2201 for a text of any other form that has no `scheme://`. */
function readOtherForm(definition: ConnectionDefinition): ConnectionFields {
  const { text } = definition;
  const refuse = (why: string, fix: string): Error =>
    createMalformedError(definition, { index: 0, why, fix });
  if (/^["'`]/.test(text))
    throw refuse('the value starts with a quotation mark', 'remove the quotation marks around the value');
  if (/^jdbc:/i.test(text))
    throw refuse('the value is a URL of JDBC', `write ${URI_FORM}; user and password stand before the host`);
  if (/^(?:server|host|data source|user id|port|database)\s*=[^;\s]*;\s*[a-z ]+=/i.test(text))
    throw refuse('the value has the form of ADO.NET (Server=…;Database=…)', `write ${URI_FORM}`);
  if (/^\w+\s*=/.test(text)) return buildFields(parseConninfoText(definition));
  throw refuse(
    'the value does not start with scheme://',
    `write scheme://..., for example ${URI_FORM}, or host=<host> dbname=<database>`,
  );
}
