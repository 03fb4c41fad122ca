import { EtlError } from '../errors.js';
import type { ConnectionFunction } from './connection-function.js';
import type { Environment } from './environment.js';

/**
 * The value of a connection in the config: a URI, a function that returns one, or an object with one of these. A connection
 * without a URI is only declared: a flag or a variable must define it.
 */
export type ConnectionSetting =
  | string
  | ConnectionFunction
  | { readonly url?: string | ConnectionFunction | undefined; readonly concurrency?: number | undefined }
  | undefined;

/** Everything that can define a connection. */
export interface Definitions {
  /** The URI of each connection ID, from `--conn id=uri`. */
  readonly flags: Readonly<Record<string, string>>;
  readonly environment: Environment;
  readonly config: Readonly<Record<string, ConnectionSetting>>;
  /** The name of the config file for messages: `etl.config.ts`. */
  readonly configName: string;
  /** Returns the variable from which the config takes a connection. Undefined if that is not known. */
  readonly findVariable?: (id: string) => string | undefined;
}

/**
 * A flag, variable or config key that can define a connection, and its value: a text, or a function of the config. Both
 * are undefined if it is not set.
 */
export interface PossibleDefinition {
  /** The name as the user would write it: `--conn my_db=…`, `ETL_CONN_MY_DB`. */
  readonly name: string;
  /** The name as errors and listings show it: `--conn`, `ETL_CONN_MY_DB in .env`. */
  readonly definedBy: string;
  readonly text: string | undefined;
  readonly call?: ConnectionFunction | undefined;
}

/** A connection that a flag or the config declares. `id` has the declared spelling. */
interface DeclaredConnection extends Pick<PossibleDefinition, 'text' | 'call'> {
  readonly id: string;
}

/** Declared connections by ID in lower case. */
type Declared = ReadonlyMap<string, DeclaredConnection>;

/** All definitions, validated. The keys of `flags` and `config` are IDs in lower case. */
export interface DefinitionIndex {
  readonly flags: Declared;
  readonly config: Declared;
  readonly environment: Environment;
  /**
   * Returns the name of the config key of a connection: `connections.my_db in etl.config.ts`, or
   * `connections["my-db"] in etl.config.ts`.
   */
  readonly describeConfigKey: (id: string) => string;
  readonly findVariable: NonNullable<Definitions['findVariable']>;
}

/**
 * Validates the definitions and indexes them by ID. Throws ETL-2210 if an ID is not valid, and ETL-2203 if two IDs
 * can't be told apart.
 */
export function indexDefinitions({
  flags,
  environment,
  config,
  configName,
  findVariable = () => undefined,
}: Definitions): DefinitionIndex {
  const declared = Object.entries(config).map(([id, setting]) => {
    const value = typeof setting === 'object' ? setting.url : setting;
    return typeof value === 'function' ? { id, text: undefined, call: value } : { id, text: value };
  });
  const flagged = Object.entries(flags).map(([id, text]) => ({ id, text }));
  return {
    flags: indexById(flagged, { declaredIn: '--conn', environment }),
    config: indexById(declared, { declaredIn: `connections in ${configName}`, environment }),
    environment,
    findVariable,
    describeConfigKey: (id) =>
      `connections${/^[a-z_]\w*$/i.test(id) ? `.${id}` : `["${id}"]`} in ${configName}`,
  };
}

/**
 * Lists everything that can define the connection `id`, in the order of the search: `--conn`, the environment
 * variables, the config, and for the connection `default` also `DATABASE_URL` and `PG*`. An entry without a text is not
 * set. The names of the entries spell the ID as the config or `--conn` does: for the ID `My_DB`, `connections.My_DB`.
 * Throws ETL-2210 if the ID is not valid.
 */
export function listPossibleDefinitions(index: DefinitionIndex, id: string): readonly PossibleDefinition[] {
  checkId(id, 'the requested ID');
  const { flags, config, environment } = index;
  const name = getSpelling(index, id);
  const inConfig = index.describeConfigKey(name);
  // An entry that is a string is the name of a variable, which the last line looks up. The Set removes a name that
  // comes twice: for `my_db` the first two names are the same, for `my-db` they are ETL_CONN_MY-DB and ETL_CONN_MY_DB.
  return [
    { name: `--conn ${name}=…`, definedBy: '--conn', text: flags.get(foldCase(id))?.text },
    ...new Set([`ETL_CONN_${id.toUpperCase()}`, toVariableName(id), `AIRFLOW_CONN_${id.toUpperCase()}`]),
    {
      name: inConfig,
      definedBy: inConfig,
      text: config.get(foldCase(id))?.text,
      call: config.get(foldCase(id))?.call,
    },
    ...(foldCase(id) === 'default' ? ['DATABASE_URL', LIBPQ] : []),
  ].map((each) => (typeof each === 'string' ? lookUpVariable(environment, each) : each));
}

/** Returns the ID as the config spells it, else as `--conn` spells it, else in lower case. Ignores the case of `id`. */
export function getSpelling({ config, flags }: DefinitionIndex, id: string): string {
  return (config.get(foldCase(id)) ?? flags.get(foldCase(id)))?.id ?? foldCase(id);
}

/**
 * Lists every ID that a flag, the config or a variable names. Each ID is listed once. The IDs are sorted by the code
 * units of their lower case.
 */
export function listKnownIds(index: DefinitionIndex): readonly string[] {
  const declared = [...index.flags.keys(), ...index.config.keys()];
  const variables = listEnvironmentIds(index.environment, new Set(declared.map(toVariableName)));
  // DATABASE_URL and the PG* variables define the connection `default` without naming its ID.
  const standard = listPossibleDefinitions(index, 'default').some(isSet) ? ['default'] : [];
  const ids = new Set([...declared, ...variables, ...standard]);
  return [...ids].toSorted().map((id) => getSpelling(index, id));
}

/** Says whether a flag, variable or config key has a value. */
export function isSet({ text, call }: PossibleDefinition): boolean {
  return text !== undefined || call !== undefined;
}

/**
 * Returns the name of the variable that can define a connection: `ETL_CONN_MY_DB` for `my-db`. A shell can set only
 * names of letters, digits and `_`, so any other character becomes `_`.
 */
export function toVariableName(id: string): string {
  return `ETL_CONN_${id.toUpperCase().replace(/[^A-Z0-9_]/g, '_')}`;
}

/**
 * The variables that define the connection `default`: each names a part of a server's address, or a service.
 * https://www.postgresql.org/docs/current/libpq-envars.html
 */
const LIBPQ_VARIABLES = ['PGHOST', 'PGHOSTADDR', 'PGPORT', 'PGDATABASE', 'PGUSER', 'PGSERVICE'];
const LIBPQ = LIBPQ_VARIABLES.join(' or ');

function foldCase(id: string): string {
  return id.toLowerCase();
}

/**
 * Throws ETL-2210 if an ID breaks Airflow's rule for IDs. Only ASCII letters are allowed, because a look-alike letter
 * would name another connection. `subject` names the ID in the message.
 */
function checkId(id: string, subject: string): void {
  const invalid = id.search(/[^\w#!()\-.:/\\]/);
  if (invalid < 0 && id.length > 0 && id.length <= 250) return;
  throw new EtlError('ETL-2210', {
    what: `${subject} is not a valid connection ID`,
    // The message does not show the ID, because a user may have written a URI with a password in its place.
    why:
      invalid < 0
        ? `the ID has ${id.length} characters`
        : `character ${invalid + 1} of the ID is not allowed`,
    fix: 'use 1 to 250 letters, digits and characters of _ # ! ( ) - . : / \\',
  });
}

/**
 * Indexes declared connections by ID in lower case. Throws ETL-2210 if an ID is not valid. Throws ETL-2203 if two IDs
 * differ only in case, or if a variable is set that would define both. `declaredIn` is for messages.
 */
function indexById(
  entries: readonly DeclaredConnection[],
  { declaredIn, environment }: { declaredIn: string; environment: Environment },
): Declared {
  const declared = new Map<string, DeclaredConnection>();
  /** The declared ID of each variable that can define a connection. */
  const idByVariable = new Map<string, string>();
  for (const entry of entries) {
    const { id } = entry;
    checkId(id, `a key of ${declaredIn}`);
    const variable = toVariableName(id);
    // `my-db` and `my.db` have the same variable. That is an error only if the variable is set.
    const shared = environment.variables[variable] === undefined ? undefined : idByVariable.get(variable);
    const other = declared.get(foldCase(id))?.id ?? shared;
    if (other !== undefined)
      throw new EtlError('ETL-2203', {
        what: `connections "${other}" and "${id}" can't be told apart`,
        where: declaredIn,
        why: `${variable} would define both connections`,
        fix: 'rename one of them',
      });
    declared.set(foldCase(id), entry);
    idByVariable.set(variable, id);
  }
  return declared;
}

/**
 * Looks up one variable. If `name` is the text `LIBPQ`, looks up all `LIBPQ_VARIABLES`: they define a connection if one
 * of them is set. `definedBy` names the variables that are set, and the file if a file sets them: `PGHOST, PGUSER in
 * .env`.
 */
function lookUpVariable({ variables, sources }: Environment, name: string): PossibleDefinition {
  const names = name === LIBPQ ? LIBPQ_VARIABLES : [name];
  const set = names.filter((variable) => variables[variable] !== undefined);
  const definedBy = set.map((variable) => {
    const file = sources.get(variable) ?? 'environment';
    return file === 'environment' ? variable : `${variable} in ${file}`;
  });
  const [first] = set;
  // This URI has no fields. The hook fills every missing field from the PG* variables, as libpq does.
  const text = name === LIBPQ ? 'postgres://' : variables[first ?? ''];
  return { name, definedBy: definedBy.join(', '), text: first === undefined ? undefined : text };
}

/**
 * Lists the IDs that variables define, in lower case: `my_db` for `ETL_CONN_MY_DB` and `AIRFLOW_CONN_MY_DB`. Leaves out
 * the variables in `claimed`, which belong to declared connections.
 */
function listEnvironmentIds({ variables }: Environment, claimed: ReadonlySet<string>): string[] {
  return Object.keys(variables).flatMap((name) => {
    const [, id = ''] = /^(?:ETL|AIRFLOW)_CONN_([A-Z0-9_#!()\-.:/\\]{1,250})$/.exec(name) ?? [];
    return id === '' || variables[name] === undefined || claimed.has(name) ? [] : [foldCase(id)];
  });
}
