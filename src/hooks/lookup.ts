import { didYouMean, EtlError } from '../errors.js';
import { parseConnection } from './airflow/airflow.js';
import { formatDsn, type Connection } from './connection.js';
import {
  indexDefinitions,
  listKnownIds,
  listPossibleDefinitions,
  getSpelling,
  toVariableName,
  type Definitions,
  type PossibleDefinition,
  type DefinitionIndex,
} from './definitions.js';

export type { ConnectionSetting, Definitions as LookupSources } from './definitions.js';

/** One line of a listing: where a connection is defined and where it points, without its secrets. */
export interface ConnectionEntry {
  readonly id: string;
  /** Where the definition was found, as in `Connection.definedBy`. */
  readonly source: string;
  /** Absent where the definition can't be read. */
  readonly scheme?: string;
  /** Masked; absent where the definition can't be read. */
  readonly place?: string;
  /** Why the definition can't be read, without a part of it. */
  readonly error?: string;
}

/** Finds connections by id. Ids are equal whatever their case, as Airflow's environment variables make them. */
export interface Lookup {
  /** Throws ETL-2202 when nothing defines the id, ETL-2201 when the first definition of it is malformed. */
  find(id: string): Connection;
  /** Everything that is declared, sorted by id; a malformed definition is an entry with an error. */
  list(prefix?: string): readonly ConnectionEntry[];
  /**
   * The ids that `find` finds, sorted: as declared in the config, else as in `--conn`, else in lower case. The
   * prefix is literal and its case does not matter. Throws ETL-2201 when one of them is malformed.
   */
  ids(prefix?: string): string[];
}

/** A lookup over everything that can define a connection; what was found first counts, also when it is malformed. */
export function createLookup(sources: Definitions): Lookup {
  const index = indexDefinitions(sources);
  return {
    find: (id) => findConnection(index, id),
    list: (prefix = '') => listIdsWithPrefix(index, prefix).map((id) => createEntry(index, id)),
    ids: (prefix = '') =>
      listIdsWithPrefix(index, prefix)
        .filter((id) => findDefinition(index, id) !== undefined)
        .map((id) => findConnection(index, id).id),
  };
}

function findConnection(index: DefinitionIndex, id: string): Connection {
  const spelling = getSpelling(index, id);
  const found = findDefinition(index, spelling);
  if (found === undefined) throw createMissingConnectionError(index, id);
  return parseConnection(spelling, found.text, found.definedBy);
}

function findDefinition(
  index: DefinitionIndex,
  id: string,
): (PossibleDefinition & { readonly text: string }) | undefined {
  for (const { text, ...place } of listPossibleDefinitions(index, id))
    if (text !== undefined) return { ...place, text };
  return undefined;
}

function listIdsWithPrefix(index: DefinitionIndex, prefix: string): string[] {
  return listKnownIds(index).filter((id) => id.toLowerCase().startsWith(prefix.toLowerCase()));
}

function createEntry(index: DefinitionIndex, id: string): ConnectionEntry {
  const found = findDefinition(index, id);
  if (found === undefined)
    return { id, source: index.describeConfigKey(id), error: 'Declared, but without a value.' };
  try {
    const connection = parseConnection(id, found.text, found.definedBy);
    return { id, source: found.definedBy, scheme: connection.scheme, place: formatDsn(connection) };
  } catch (error) {
    if (!(error instanceof EtlError)) throw error;
    return {
      id,
      source: found.definedBy,
      error: `${error.where ?? found.definedBy}: ${error.why ?? error.message}`,
    };
  }
}

function createMissingConnectionError(index: DefinitionIndex, id: string): EtlError {
  const places = listPossibleDefinitions(index, id);
  const declared = index.config.has(id.toLowerCase());
  const names = listKnownIds(index).filter((name) => findDefinition(index, name) !== undefined);
  return new EtlError('ETL-2202', {
    what: `Connection "${id}" is not defined${didYouMean(id, names) || '.'}`,
    why: `Looked, in this order, at ${places.map(({ name }) => name).join(', ')}.`,
    fix: declared
      ? `${index.describeConfigKey(id)} declares it without a value: set the variable that the value comes from.`
      : `Set ${toVariableName(id)} to postgres://..., or declare ${index.describeConfigKey(id)}.`,
  });
}
