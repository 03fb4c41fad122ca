import { didYouMean, EtlError } from '../errors.js';
import { parseConnection } from './airflow/airflow.js';
import { learnFromDefinitions } from '../runtime/secrets/learned-secrets.js';
import { formatDsn, type Connection } from './connection.js';
import {
  indexDefinitions,
  listKnownIds,
  listPossibleDefinitions,
  getSpelling,
  toVariableName,
  type ConnectionSetting,
  type Definitions,
  type DefinitionIndex,
} from './definitions.js';

export type { ConnectionSetting, Definitions } from './definitions.js';

/** A connection in a listing: what defines it and where it points, without secrets. */
export interface ConnectionEntry {
  readonly id: string;
  /** The variable, flag or config key that defines the connection, like `Connection.definedBy`. */
  readonly source: string;
  /** Absent if the definition is missing or malformed. */
  readonly scheme?: string;
  /** The URI with its secrets masked. Absent if the definition is missing or malformed. */
  readonly place?: string;
  /** Why the connection can't be used. Never quotes the definition. */
  readonly error?: string;
}

/** Finds connections by ID. The case of an ID does not matter, because Airflow's environment variables have no case. */
export interface Lookup {
  /**
   * Returns the connection with this ID. Throws ETL-2210 if the ID is not valid, ETL-2202 if nothing defines the ID,
   * and ETL-2201 if the first definition found is malformed.
   */
  find(id: string): Connection;
  /**
   * Lists every declared or defined connection, sorted by ID. A connection that can't be used has an entry with an
   * error. The prefix is literal and its case does not matter.
   */
  list(prefix?: string): readonly ConnectionEntry[];
  /**
   * Returns the IDs that `find` finds, sorted. An ID has the spelling of the config, else of `--conn`, else it is in
   * lower case. The prefix is literal and its case does not matter. Throws ETL-2201 if a definition is malformed.
   */
  ids(prefix?: string): string[];
}

/**
 * Creates a lookup over everything that can define a connection. The first definition found counts, even if it is
 * malformed. Throws ETL-2210 if an ID is not valid, and ETL-2203 if two IDs can't be told apart.
 */
export function createLookup(definitions: Definitions): Lookup {
  const { flags, config } = definitions;
  learnFromDefinitions([...Object.values(flags), ...Object.values(config).map(getText)]);
  const index = indexDefinitions(definitions);
  return {
    find: (id) => findConnection(index, id),
    list: (prefix = '') => listIdsWithPrefix(index, prefix).map((id) => createEntry(index, id)),
    ids: (prefix = '') =>
      listIdsWithPrefix(index, prefix)
        .filter((id) => findDefinition(index, id) !== undefined)
        .map((id) => findConnection(index, id).id),
  };
}

/** Returns the URI of a connection in the config. Undefined if the connection is only declared. */
function getText(setting: ConnectionSetting): string | undefined {
  return typeof setting === 'object' ? setting.url : setting;
}

/**
 * Finds and parses the first definition of a connection. Throws ETL-2210 if the ID is not valid, ETL-2202 if nothing
 * defines the ID, and ETL-2201 if the definition is malformed.
 */
function findConnection(index: DefinitionIndex, id: string): Connection {
  const spelling = getSpelling(index, id);
  const found = findDefinition(index, spelling);
  if (found === undefined) throw createMissingConnectionError(index, id);
  return parseConnection(spelling, found.text, found.definedBy);
}

/**
 * Returns the first definition of a connection that is set. Does not parse the definition. Undefined if none is set.
 */
function findDefinition(index: DefinitionIndex, id: string): { definedBy: string; text: string } | undefined {
  for (const { definedBy, text } of listPossibleDefinitions(index, id))
    if (text !== undefined) return { definedBy, text };
  return undefined;
}

function listIdsWithPrefix(index: DefinitionIndex, prefix: string): string[] {
  return listKnownIds(index).filter((id) => id.toLowerCase().startsWith(prefix.toLowerCase()));
}

/** Creates the entry of a connection for a listing. A missing or malformed definition gives an entry with an error. */
function createEntry(index: DefinitionIndex, id: string): ConnectionEntry {
  const found = findDefinition(index, id);
  if (found === undefined)
    return { id, source: index.describeConfigKey(id), error: 'declared without a value' };
  const source = found.definedBy;
  try {
    const connection = parseConnection(id, found.text, source);
    return { id, source, scheme: connection.scheme, place: formatDsn(connection) };
  } catch (error) {
    if (!(error instanceof EtlError)) throw error;
    return { id, source, error: `${error.where ?? source}: ${error.why ?? error.message}` };
  }
}

/** Creates ETL-2202, which lists everything that was searched, and suggests a defined ID with a similar spelling. */
function createMissingConnectionError(index: DefinitionIndex, id: string): EtlError {
  const searched = listPossibleDefinitions(index, id);
  const isDeclared = index.config.has(id.toLowerCase());
  const variable = isDeclared ? index.findVariable(getSpelling(index, id)) : undefined;
  const names = listKnownIds(index).filter((name) => findDefinition(index, name) !== undefined);
  return new EtlError('ETL-2202', {
    what: `connection "${id}" ${isDeclared ? `has no value${variable === undefined ? '' : `: the variable ${variable} is not set`}` : `is not defined${didYouMean(id, names)}`}`,
    why: [
      ...(isDeclared
        ? [
            `${index.describeConfigKey(id)} ${variable === undefined ? 'declares the connection without a value' : `takes its value from ${variable}`}`,
          ]
        : []),
      `searched in this order: ${searched.map(({ name }) => name).join(', ')}`,
    ].join('\n'),
    fix: isDeclared
      ? `set ${variable === undefined ? 'the variable that the value comes from' : `the variable ${variable}`}, or pass --conn ${id}=postgres://...`
      : `set ${toVariableName(id)} to postgres://..., or declare ${index.describeConfigKey(id)}`,
  });
}
