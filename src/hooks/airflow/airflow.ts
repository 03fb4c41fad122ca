import { parseJson } from './airflow-json.js';
import { parseUri } from './airflow-uri.js';
import { createConnection, type Connection, type ConnectionFields } from '../connection.js';
import { parsePgliteDirectory } from '../pglite/pglite-directory.js';
import { createMalformedError, URI_FORM, type ConnectionDefinition } from '../definition.js';

/**
 * Parses a connection from Airflow's URI or JSON form, or from `pglite:<directory>`. Throws ETL-2201 if the text is
 * malformed. The error never quotes the text.
 * https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html
 */
export function parseConnection(id: string, text: string, definedBy: string): Connection {
  const definition = { id, definedBy, text: text.trim() };
  return createConnection({ id, definedBy, ...readFields(definition) });
}

/** Reads the fields from JSON (the text starts with `{`), from `pglite:<directory>`, or from any other URI. */
function readFields(definition: ConnectionDefinition): ConnectionFields {
  const { text } = definition;
  if (text === '')
    throw createMalformedError(definition, { why: 'the value is empty', fix: `write ${URI_FORM}` });
  if (text.startsWith('{')) return parseJson(definition);
  const directory = /^pglite:(?:\/\/)?(.*)$/is.exec(text)?.[1];
  // The directory is not percent-decoded, because users write a path without percent-encoding.
  if (directory !== undefined) return parsePgliteDirectory(definition, directory);
  return parseUri(definition);
}
