import type { ConnectionFields } from '../connection.js';
import { createMalformedError, URI_FORM, type ConnectionDefinition } from '../definition.js';

/**
 * Parses the text after `pglite:`, which is a directory or `:memory:`, and returns the fields of the connection.
 * Removes spaces at both ends. Reads no directory. Throws ETL-2201 if the text can't be a directory.
 */
export function parsePgliteDirectory(definition: ConnectionDefinition, text: string): ConnectionFields {
  const database = text.trim();
  if (database === '') {
    throw createMalformedError(definition, {
      why: 'the directory is missing',
      fix: 'write pglite:<directory>, or pglite::memory: for a database that is gone when etl ends',
    });
  }
  if (/[\p{Cc}\p{Cs}]/u.test(database)) {
    throw createMalformedError(definition, {
      why: 'the directory has a control character or half a character',
      fix: 'remove the character',
    });
  }
  // If a user changes only the scheme of a server's URI, the "directory" has a password. Messages show directories.
  if (/^[^/]*:[^/]*@/.test(database)) {
    throw createMalformedError(definition, {
      why: 'a pglite connection is a directory and has no login',
      fix: `write pglite:<directory>, or ${URI_FORM} for a server`,
    });
  }
  return { scheme: 'pglite', database };
}
