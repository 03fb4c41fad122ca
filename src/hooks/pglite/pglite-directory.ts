import type { ConnectionFields } from '../connection.js';
import { createMalformedError, URI_FORM, type ConnectionDefinition } from '../definition.js';

/** The fields of a pglite connection: its directory, without surrounding white space, or `:memory:`. */
export function readDirectory(definition: ConnectionDefinition, text: string): ConnectionFields {
  const database = text.trim();
  if (database === '') {
    throw createMalformedError(definition, {
      why: 'The directory is missing.',
      fix: 'Write pglite:<directory>, or pglite::memory: for a database that is gone at the end.',
    });
  }
  if (/[\p{Cc}\p{Cs}]/u.test(database)) {
    throw createMalformedError(definition, {
      why: 'The directory has a control character or half a character.',
      fix: 'Remove it.',
    });
  }
  // Otherwise a URI of a server whose scheme was changed by mistake would be shown as a directory, with its password.
  if (/^[^/]*:[^/]*@/.test(database)) {
    throw createMalformedError(definition, {
      why: 'A pglite connection is a directory and has no login.',
      fix: `Write pglite:<directory>, or ${URI_FORM} for a server.`,
    });
  }
  return { scheme: 'pglite', database };
}
