import { didYouMean, EtlError } from '../../errors.js';
import type { Connection } from '../connection.js';
import type { Variables } from '../hook.js';
import { PARAMETERS, type Parameter, type ParameterName } from './parameters.js';

/** A libpq `sslmode`, with libpq's meaning. The driver's `sslmode` values differ in meaning. */
export type SslMode = (typeof PARAMETERS.sslmode.values)[number];

/** The value of a parameter or of a variable. */
export interface Setting {
  /** An empty text means the default value, and no variable replaces it. */
  readonly text: string;
  /** The parameter or variable that the user set: `sslmode` or `PGSSLMODE`. */
  readonly name: string;
  /** The definer of the value, for messages: a `Connection.definedBy`, a service, or `the environment`. */
  readonly where: string;
}

/** The parameters that a service of a service file sets. */
export interface Service {
  readonly parameters: ReadonlyMap<string, string>;
  /** The service for messages: `service "shop" in /home/ann/.pg_service.conf`. */
  readonly name: string;
}

/** Everything that can set a parameter, in libpq's order: the connection, then the service, then the variables. */
export interface SettingSources {
  readonly connection: Connection;
  readonly service?: Service | undefined;
  readonly variables: Variables;
}

/** The fields of a connection that are parameters of libpq. */
const FIELDS = {
  host: 'host',
  port: 'port',
  user: 'login',
  password: 'password',
  dbname: 'database',
} as const;

/**
 * Returns the value of a parameter from the connection, else from its service, else from its variable, else undefined. In
 * a connection, `extra` wins over the field, as in Airflow, and `true` and
 * `false` of JSON are 1 and 0. Throws ETL-2206 if the value is an object or a list.
 */
export function findSetting(sources: SettingSources, name: ParameterName): Setting | undefined {
  const { connection, service, variables } = sources;
  const field = Object.hasOwn(FIELDS, name) ? connection[FIELDS[name as keyof typeof FIELDS]] : undefined;
  const value = connection.extra[name] ?? field;
  const where = connection.definedBy;
  if (typeof value === 'boolean') return { text: value ? '1' : '0', name, where };
  if (typeof value === 'string' || typeof value === 'number') return { text: String(value), name, where };
  if (value !== undefined && value !== null)
    throw createBadValueError(
      { name, where },
      'the value is an object or a list',
      'write text, a number, true or false',
    );
  const text = service?.parameters.get(name);
  if (service !== undefined && text !== undefined) return { text, name, where: service.name };
  return findVariable(variables, name);
}

/** Returns the variable of a parameter. Undefined if it is not set, or if the parameter has no variable. */
function findVariable(variables: Variables, name: ParameterName): Setting | undefined {
  const { variable }: Parameter = PARAMETERS[name];
  const where = 'the environment';
  const text = variable === undefined ? undefined : variables[variable];
  if (text !== undefined && variable !== undefined) return { text, name: variable, where };
  // libpq still reads the old name of PGSSLMODE=require.
  if (name === 'sslmode' && variables['PGREQUIRESSL']?.startsWith('1'))
    return { text: 'require', name: 'PGREQUIRESSL', where };
  return undefined;
}

/**
 * Returns the value of a parameter that has a fixed list of values. Undefined if it is not set. Throws ETL-2206 for any
 * other value, also for an empty one, as libpq does.
 */
export function findChoice<const Name extends ParameterName>(
  sources: SettingSources,
  name: Name,
): ((typeof PARAMETERS)[Name] extends { values: readonly (infer Value)[] } ? Value : never) | undefined {
  const found = findSetting(sources, name);
  if (found === undefined) return undefined;
  const { values = [] }: Parameter = PARAMETERS[name];
  const fold = (text: string): string => (values.includes('TLSv1') ? text.toLowerCase() : text);
  const value = values.find((each) => fold(each) === fold(found.text));
  if (value !== undefined) return value as never;
  if (found.text === 'no-verify' && name === 'sslmode')
    throw createBadValueError(
      found,
      'PostgreSQL has no sslmode "no-verify"',
      'write sslmode=require, which means the same',
    );
  const why =
    found.text === ''
      ? 'the value is empty'
      : `PostgreSQL has no such ${name}${didYouMean(found.text, values)}`;
  throw createBadValueError(found, why, `use one of: ${values.filter((each) => each !== '').join(', ')}`);
}

/**
 * Returns the whole number that a parameter has, as libpq reads it: with blanks around it and with a sign. Undefined if the
 * parameter is not set. Throws ETL-2206 for any other text, and for a number that does not fit into 32 bits.
 */
export function findWholeNumber(sources: SettingSources, name: ParameterName): number | undefined {
  const found = findSetting(sources, name);
  if (found === undefined) return undefined;
  const number = parseWholeNumber(found.text);
  if (number !== undefined) return number;
  throw createBadValueError(found, 'the value is not a whole number', `write for example ${found.name}=10`);
}

/** Parses a whole number of 32 bits, with blanks around it and with a sign. Returns undefined for any other text. */
export function parseWholeNumber(text: string): number | undefined {
  const number = /^[ \t-\r]*[+-]?\d+[ \t-\r]*$/.test(text) ? Number(text) : Number.NaN;
  return Math.abs(number) <= 2_147_483_647 ? number : undefined;
}

/** Creates an ETL-2206 for a value that makes no sense. The error does not show the value, which can be a secret. */
export function createBadValueError(
  { name, where }: Omit<Setting, 'text'>,
  why: string,
  fix: string,
): EtlError {
  return new EtlError('ETL-2206', { what: `the value of "${name}" can't be used`, where, why, fix });
}
