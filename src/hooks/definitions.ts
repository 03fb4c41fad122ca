import { EtlError } from '../errors.js';
import type { Environment } from './environment.js';

/** What a config says about a connection; without a url it is declared, and has to be defined elsewhere. */
export type ConnectionSetting =
  string | { readonly url?: string | undefined; readonly concurrency?: number | undefined } | undefined;

/** Everything that can define a connection. */
export interface Definitions {
  /** Id to URL, from `--conn id=url`. */
  readonly flags: Readonly<Record<string, string>>;
  readonly environment: Environment;
  readonly config: Readonly<Record<string, ConnectionSetting>>;
  /** The config file, as people know it: `etl.config.ts`. */
  readonly configName: string;
}

/** A place where a connection can be defined, and the definition that is there, if any. */
export interface PossibleDefinition {
  /** As a person would write it: `--conn my_db=…`, `ETL_CONN_MY_DB`. */
  readonly name: string;
  /** As an error or a listing says where it was found: `ETL_CONN_MY_DB in .env`. */
  readonly definedBy: string;
  readonly text: string | undefined;
}

/** A definition as it is declared, under the lower case of its id. */
type Declared = ReadonlyMap<string, { readonly id: string; readonly text: string | undefined }>;

/** The sources, checked, and by the lower case of their ids. */
export interface DefinitionIndex {
  readonly flags: Declared;
  readonly config: Declared;
  readonly environment: Environment;
  /** `connections.my_db in etl.config.ts` */
  readonly describeConfigKey: (id: string) => string;
}

/** Throws ETL-2210 for an id that can't be one, ETL-2203 for two ids that can't be told apart. */
export function indexDefinitions({ flags, environment, config, configName }: Definitions): DefinitionIndex {
  const declared = Object.entries(config).map(([id, setting]) => [id, getText(setting)] as const);
  return {
    flags: declare(Object.entries(flags), { source: '--conn', environment }),
    config: declare(declared, { source: `connections in ${configName}`, environment }),
    environment,
    describeConfigKey: (id) =>
      `connections${/^[a-z_]\w*$/i.test(id) ? `.${id}` : `["${id}"]`} in ${configName}`,
  };
}

/** Where a connection is looked for, in order. The id of a declared connection is spelt as there. */
export function listPossibleDefinitions(index: DefinitionIndex, id: string): readonly PossibleDefinition[] {
  checkId(id, 'The id of a connection that was asked for');
  const { flags, config, environment, describeConfigKey: configPlace } = index;
  const name = getSpelling(index, id);
  const inConfig = configPlace(name);
  return [
    { name: `--conn ${name}=…`, definedBy: '--conn', text: flags.get(foldCase(id))?.text },
    ...new Set([`ETL_CONN_${id.toUpperCase()}`, toVariableName(id), `AIRFLOW_CONN_${id.toUpperCase()}`]),
    { name: inConfig, definedBy: inConfig, text: config.get(foldCase(id))?.text },
    ...(foldCase(id) === 'default' ? ['DATABASE_URL', LIBPQ] : []),
  ].map((place) => (typeof place === 'string' ? lookUpVariable(environment, place) : place));
}

/** The id as it is declared in the config, else with `--conn`, else in lower case. */
export function getSpelling({ config, flags }: DefinitionIndex, id: string): string {
  return (config.get(foldCase(id)) ?? flags.get(foldCase(id)))?.id ?? foldCase(id);
}

/** Every id that a source declares, once, sorted by the code units of its lower case. */
export function listKnownIds(index: DefinitionIndex): readonly string[] {
  const declared = [...index.flags.keys(), ...index.config.keys()];
  const variables = listEnvironmentIds(index.environment, new Set(declared.map(toVariableName)));
  const standard = listPossibleDefinitions(index, 'default').some(({ text }) => text !== undefined)
    ? ['default']
    : [];
  const ids = new Set([...declared, ...variables, ...standard]);
  return [...ids].toSorted(compareCodeUnits).map((id) => getSpelling(index, id));
}

/** The variable for an id. A shell can set only letters, digits and `_`, so any other character is `_` here. */
export function toVariableName(id: string): string {
  return `ETL_CONN_${id.toUpperCase().replace(/[^A-Z0-9_]/g, '_')}`;
}

/** https://www.postgresql.org/docs/current/libpq-envars.html: one of these says that a server is meant. */
const LIBPQ_VARIABLES = ['PGHOST', 'PGHOSTADDR', 'PGPORT', 'PGDATABASE', 'PGUSER'];
const LIBPQ = LIBPQ_VARIABLES.join(' or ');

function foldCase(id: string): string {
  return id.toLowerCase();
}

function getText(setting: ConnectionSetting): string | undefined {
  return typeof setting === 'object' ? setting.url : setting;
}

/** Airflow's rule for ids, for ASCII: a look-alike letter would be another connection. */
function checkId(id: string, source: string): void {
  const invalid = id.search(/[^\w#!()\-.:/\\]/);
  if (invalid < 0 && id.length > 0 && id.length <= 250) return;
  throw new EtlError('ETL-2210', {
    what: `${source} is not a valid connection id.`,
    // Not the id itself: it could be a URI in the wrong place.
    why:
      invalid < 0 ? `It has ${id.length} characters.` : `Its character number ${invalid + 1} is not allowed.`,
    fix: 'Use 1 to 250 letters, digits, and characters _ # ! ( ) - . : / \\ only.',
  });
}

function declare(
  entries: readonly (readonly [id: string, text: string | undefined])[],
  { source, environment }: { source: string; environment: Environment },
): Declared {
  const declared = new Map<string, { readonly id: string; readonly text: string | undefined }>();
  const variables = new Map<string, string>();
  for (const [id, text] of entries) {
    checkId(id, `A key of ${source}`);
    const variable = toVariableName(id);
    const shared = environment.variables[variable] === undefined ? undefined : variables.get(variable);
    const other = declared.get(foldCase(id))?.id ?? shared;
    if (other !== undefined) throw createIndistinctIdsError([other, id], source, variable);
    declared.set(foldCase(id), { id, text });
    variables.set(variable, id);
  }
  return declared;
}

function createIndistinctIdsError(ids: readonly string[], source: string, variable: string): EtlError {
  return new EtlError('ETL-2203', {
    what: `Connections ${ids.map((id) => `"${id}"`).join(' and ')} can't be told apart.`,
    where: source,
    why: `${variable} would define both.`,
    fix: 'Rename one of them.',
  });
}

function lookUpVariable({ variables, sources }: Environment, name: string): PossibleDefinition {
  const names = name === LIBPQ ? LIBPQ_VARIABLES : [name];
  const set = names.filter((variable) => variables[variable] !== undefined);
  const definedBy = set.map((variable) => {
    const source = sources.get(variable) ?? 'environment';
    return source === 'environment' ? variable : `${variable} in ${source}`;
  });
  const [first] = set;
  // The hook fills the fields of a connection without any from the variables, as libpq does.
  const text = name === LIBPQ ? 'postgres://' : variables[first ?? ''];
  return { name, definedBy: definedBy.join(', '), text: first === undefined ? undefined : text };
}

/** The ids that variables define, except through those variables that belong to a declared connection. */
function listEnvironmentIds({ variables }: Environment, claimed: ReadonlySet<string>): string[] {
  return Object.keys(variables).flatMap((name) => {
    const [, id = ''] = /^(?:ETL|AIRFLOW)_CONN_([A-Z0-9_#!()\-.:/\\]{1,250})$/.exec(name) ?? [];
    return id === '' || variables[name] === undefined || claimed.has(name) ? [] : [foldCase(id)];
  });
}

function compareCodeUnits(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
