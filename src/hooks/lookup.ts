import { didYouMean, EtlError } from '../errors.js';
import { callConnectionFunction } from './connection-function.js';
import { parseConnection } from './parse-connection.js';
import { learnFromConnection, learnFromDefinitions } from '../runtime/secrets/learned-secrets.js';
import { formatDsn, type Connection } from './connection.js';
import {
  indexDefinitions,
  listKnownIds,
  listPossibleDefinitions,
  getSpelling,
  isSet,
  toVariableName,
  type ConnectionSetting,
  type Definitions,
  type DefinitionIndex,
  type PossibleDefinition,
} from './definitions.js';

export type { ConnectionSetting, Definitions } from './definitions.js';

/** A connection in a listing: what defines it and where it points, without secrets. */
export interface ConnectionEntry {
  readonly id: string;
  /** The variable, flag or config key that defines the connection, like `Connection.definedBy`. */
  readonly source: string;
  /** Absent if the definition is missing or malformed. */
  readonly scheme?: string;
  /** The URI with its secrets masked, or `(function)`. Absent if the definition is missing or malformed. */
  readonly place?: string;
  /** Why the connection can't be used. Never quotes the definition. */
  readonly error?: string;
}

/** Finds connections by ID. The case of an ID does not matter, because Airflow's environment variables have no case. */
export interface Lookup {
  /**
   * Returns the connection with this ID. If a function of the config defines it, the first call calls the function, and
   * every call returns its result. Rejects with ETL-2210 if the ID is not valid, ETL-2202 if nothing defines the ID, ETL-2201 if
   * the first definition found is malformed, and ETL-2216 or ETL-2217 if the function fails.
   */
  load(id: string): Promise<Connection>;
  /**
   * Returns the connection with this ID without waiting. Throws like `load`, and `Error` if a function defines the
   * connection and `load` has not returned it yet.
   */
  find(id: string): Connection;
  /**
   * Lists every declared or defined connection, sorted by ID. A connection that can't be used has an entry with an
   * error. The prefix is literal and its case does not matter.
   */
  list(prefix?: string): readonly ConnectionEntry[];
  /**
   * Returns the IDs that `find` finds, sorted. An ID has the spelling of the config, else of `--conn`, else it is in
   * lower case. The prefix is literal and its case does not matter. Calls no function. Throws ETL-2201 if a definition is
   * malformed.
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
  const functions = new FunctionConnections();
  return {
    load: async (id) => {
      const { definition, spelling } = findDefined(index, id);
      return functions.load(spelling, definition) ?? parse(spelling, definition);
    },
    find: (id) => {
      const { definition, spelling } = findDefined(index, id);
      return functions.find(spelling, definition) ?? parse(spelling, definition);
    },
    list: (prefix = '') => listIdsWithPrefix(index, prefix).map((id) => createEntry(index, id)),
    ids: (prefix = '') =>
      listIdsWithPrefix(index, prefix)
        .filter((id) => findDefinition(index, id) !== undefined)
        .map((id) => {
          const { definition, spelling } = findDefined(index, id);
          return definition.call === undefined ? parse(spelling, definition).id : spelling;
        }),
  };
}

/** The connections that functions of the config have returned. */
class FunctionConnections {
  readonly #loading = new Map<string, Promise<Connection>>();
  readonly #loaded = new Map<string, Connection>();

  /** Calls the function of a definition, if it has one, at the first call with this ID. */
  load(id: string, { call, definedBy }: PossibleDefinition): Promise<Connection> | undefined {
    if (call === undefined) return undefined;
    const loading = this.#loading.get(id) ?? this.#call(id, call, definedBy);
    this.#loading.set(id, loading);
    return loading;
  }

  /** Returns what the function of a definition has returned, if it has one. Throws `Error` if it has not returned yet. */
  find(id: string, { call }: PossibleDefinition): Connection | undefined {
    if (call === undefined) return undefined;
    const loaded = this.#loaded.get(id);
    if (loaded === undefined) throw new Error(`the function of connection "${id}" was not called yet`);
    return loaded;
  }

  async #call(
    id: string,
    call: NonNullable<PossibleDefinition['call']>,
    definedBy: string,
  ): Promise<Connection> {
    const connection = await callConnectionFunction(call, { id, definedBy });
    learnFromConnection(connection);
    this.#loaded.set(id, connection);
    return connection;
  }
}

/** Returns the URI of a connection in the config. Undefined if the connection is only declared, or has a function. */
function getText(setting: ConnectionSetting): string | undefined {
  const value = typeof setting === 'object' ? setting.url : setting;
  return typeof value === 'string' ? value : undefined;
}

/**
 * Finds the first definition of a connection. Throws ETL-2210 if the ID is not valid, and ETL-2202 if nothing defines the
 * ID.
 */
function findDefined(
  index: DefinitionIndex,
  id: string,
): { readonly definition: PossibleDefinition; readonly spelling: string } {
  const spelling = getSpelling(index, id);
  const definition = findDefinition(index, spelling);
  if (definition === undefined) throw createMissingConnectionError(index, id);
  return { definition, spelling };
}

/** Returns the first definition of a connection that is set. Does not parse the definition. Undefined if none is set. */
function findDefinition(index: DefinitionIndex, id: string): PossibleDefinition | undefined {
  return listPossibleDefinitions(index, id).find(isSet);
}

/** Parses a definition. Its password is masked in every output. Throws ETL-2201 if the definition is malformed. */
function parse(id: string, { text = '', definedBy }: PossibleDefinition): Connection {
  const connection = parseConnection(id, text, definedBy);
  learnFromConnection(connection);
  return connection;
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
  if (found.call !== undefined) return { id, source, place: '(function)' };
  try {
    const connection = parse(id, found);
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
