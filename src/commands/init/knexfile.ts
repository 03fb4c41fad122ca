import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EtlError } from '../../errors.js';
import { parseConnection } from '../../hooks/parse-connection.js';
import { formatDsn } from '../../hooks/connection.js';
import { createLoadError } from '../../runtime/config/load-error.js';
import { isRecord } from '../../runtime/json.js';
import { ConfigModules } from '../../runtime/modules/modules.js';
import { SharedModules } from '../../runtime/modules/shared-packages.js';
import { readConfigFile } from '../../runtime/modules/source-text.js';
import { learnFromDefinitions } from '../../runtime/secrets/learned-secrets.js';
import { assertTrusted } from '../../runtime/trust/trusted-file.js';
import { getShared } from '../program/program.js';

/** The names that Knex itself searches for, and those of its other extensions. */
const NAMES = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs'].map((extension) => `knexfile.${extension}`);

/** The connection of one environment of a knexfile. Has no value of the knexfile, so it has no secret. */
export interface KnexConnection {
  /** The path of the knexfile from the directory of the project: `knexfile.ts`. */
  readonly path: string;
  /** The environment. Undefined if the knexfile has one configuration and no environments. */
  readonly environment: string | undefined;
  /** True if the user has named the environment, so that NODE_ENV does not choose another. */
  readonly isFixed: boolean;
  /** True if the knexfile exports a function that returns the configuration. */
  readonly isFunction: boolean;
  /**
   * The place of the parts of the URL in `connection`: the URL itself, the URL in a field, or the names of fields, such as
   * `host` and `password`.
   */
  readonly form: 'url' | 'connectionString' | readonly string[];
  /** The parameters of the URL that stand for the field `ssl`: `sslmode=require`. Empty if there is none. */
  readonly query: string;
  /** The location of the connection, with a masked password. */
  readonly place: string;
}

/** The knexfile and the environment to read. */
export interface KnexRequest {
  readonly directory: string;
  /** The path of the knexfile, from the directory. */
  readonly path: string;
  /** The environment that the user has named. */
  readonly environment: string | undefined;
}

/** Returns the path of the knexfile of a directory, from the directory. Undefined if there is none. */
export function findKnexfile(directory: string): string | undefined {
  return NAMES.find((name) => existsSync(join(directory, name)));
}

/**
 * Executes a knexfile, and reads the connection of one environment: the named one, else that of NODE_ENV, else
 * `development`, as Knex does. Throws ETL-2020 if the file has no connection that `etl` can use, and the errors of a config
 * (ETL-2102 to ETL-2104) if it can't be read or executed.
 */
export async function readKnexfile(request: KnexRequest): Promise<KnexConnection> {
  const { directory, path } = request;
  const exported = await execute(resolve(directory, path), directory);
  const isFunction = typeof exported === 'function';
  const value: unknown = isFunction ? await (exported as () => unknown)() : exported;
  if (!isRecord(value)) throw createUnusableError(request, 'it exports no object');
  const { environment, config } = chooseEnvironment(value, request);
  const { client, connection } = config;
  if (!/^(?:pg|pgnative|postgres|postgresql)$/.test(String(client)))
    throw createUnusableError(
      request,
      `its client is ${JSON.stringify(client)}, and etl works with PostgreSQL`,
    );
  const parts = describeParts(connection, request);
  learnFromDefinitions([parts.url]);
  const place = formatDsn(parseConnection('db', parts.url, path));
  const { form, query } = parts;
  return { path, environment, isFixed: request.environment !== undefined, isFunction, form, query, place };
}

/** Executes a knexfile as a config is executed, and returns its default export or its `module.exports`. */
async function execute(file: string, directory: string): Promise<unknown> {
  if (!existsSync(file)) {
    throw createUnusableError({ directory, path: file, environment: undefined }, 'there is no such file');
  }
  const shared = getShared();
  const knexfile = readConfigFile(file, { directory });
  const modules = new ConfigModules({
    shared: new SharedModules(file, shared),
    cache: undefined,
    assertTrusted: (path) => assertTrusted(path, { noun: 'the module', name: path }),
    version: shared.version,
    conditions: [],
  });
  try {
    const exports = await modules.run(knexfile);
    return isRecord(exports) && exports['default'] !== undefined ? exports['default'] : exports;
  } catch (error) {
    throw createLoadError(error, { configFile: knexfile, directory, ours: fileURLToPath(shared.own) });
  }
}

/** Returns the configuration of an environment, or the whole knexfile if it has no environments. */
function chooseEnvironment(
  value: Readonly<Record<string, unknown>>,
  request: KnexRequest,
): { readonly environment: string | undefined; readonly config: Readonly<Record<string, unknown>> } {
  if (Object.hasOwn(value, 'client') && request.environment === undefined)
    return { environment: undefined, config: value };
  const environment = request.environment ?? process.env['NODE_ENV'] ?? 'development';
  const config = Object.hasOwn(value, environment) ? value[environment] : undefined;
  if (isRecord(config)) return { environment, config };
  const names = Object.keys(value).filter(
    (name) => isRecord(value[name]) && Object.hasOwn(value[name], 'client'),
  );
  throw createUnusableError(
    request,
    `it has no environment "${environment}"${names.length === 0 ? '' : `; its environments are ${names.join(', ')}`}`,
  );
}

/** The fields of a connection of pg that become parts of a URL. */
const FIELDS = ['user', 'password', 'host', 'port', 'database'];

/** Reads the form of a connection and its URL. The URL has the password. Throws ETL-2020 for a form that is no URL. */
function describeParts(
  connection: unknown,
  request: KnexRequest,
): { readonly form: KnexConnection['form']; readonly query: string; readonly url: string } {
  if (typeof connection === 'string') return { form: 'url', query: '', url: connection };
  if (!isRecord(connection))
    throw createUnusableError(
      request,
      typeof connection === 'function'
        ? 'its connection is a function'
        : `its connection is ${connection === undefined ? 'not set' : 'neither a text nor an object'}`,
    );
  const query = translateSsl(connection['ssl'], request);
  const { connectionString } = connection;
  if (typeof connectionString === 'string')
    return { form: 'connectionString', query: '', url: connectionString };
  const form = FIELDS.filter((name) => connection[name] !== undefined && connection[name] !== '');
  const dynamic = form.find((name) => !['string', 'number'].includes(typeof connection[name]));
  if (dynamic !== undefined)
    throw createUnusableError(request, `the field "${dynamic}" of its connection is no text and no number`);
  return { form, query, url: buildUrl((name) => String(connection[name]), form, query) };
}

/**
 * Builds a URL from the fields of a connection. `read` returns the value of a field. A host that is an IPv6 address is
 * written in brackets.
 */
function buildUrl(read: (name: string) => string, form: readonly string[], query: string): string {
  const part = (name: string, before = '', after = ''): string =>
    form.includes(name) ? before + encodeURIComponent(read(name)) + after : '';
  const login = part('user') + part('password', ':');
  const host = form.includes('host') && read('host').includes(':') ? `[${read('host')}]` : part('host');
  return `postgres://${login === '' ? '' : `${login}@`}${host}${part('port', ':')}/${part('database')}${query && `?${query}`}`;
}

/**
 * Translates the field `ssl` of pg to parameters of libpq. `true` verifies the server with the public authorities, and
 * `rejectUnauthorized: false` verifies nothing (https://node-postgres.com/features/ssl). Throws ETL-2020 for an object with
 * certificates, which libpq reads from files.
 */
function translateSsl(ssl: unknown, request: KnexRequest): string {
  if (ssl === undefined || ssl === null || ssl === false) return '';
  if (isRecord(ssl) && ssl['rejectUnauthorized'] === false) return 'sslmode=require';
  if (isRecord(ssl) && ['ca', 'cert', 'key'].some((name) => ssl[name] !== undefined))
    throw createUnusableError(
      request,
      'its connection has certificates as texts, and libpq reads them from files',
    );
  return 'sslmode=verify-full&sslrootcert=system';
}

/** Creates ETL-2020. */
function createUnusableError({ directory, path }: KnexRequest, why: string): EtlError {
  const file = resolve(directory, path);
  return new EtlError('ETL-2020', {
    what: `the connection of ${basename(path)} can't be used`,
    where: dirname(file) === directory ? basename(file) : file,
    why,
    fix: 'name another environment with --env, or give the database with --url-from <variable> or --embedded',
    data: 'nothing was written',
  });
}
