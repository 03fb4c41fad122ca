import { relative, resolve } from 'node:path';
import { EtlError } from '../../errors.js';
import { parseConnection } from '../../hooks/parse-connection.js';
import { formatDsn } from '../../hooks/connection.js';
import { findKnexfile, type KnexConnection, readKnexfile } from './knexfile.js';
import type { DatabaseChoice } from './starter-config.js';

/** The flags of `etl init` that name a database. */
export interface DatabaseFlags {
  readonly embedded?: boolean | undefined;
  readonly 'url-from'?: string | undefined;
  readonly knexfile?: string | undefined;
  readonly env?: string | undefined;
}

/** A database that a project can use. `label` says where it is, without a secret. */
export interface Candidate {
  readonly choice: DatabaseChoice;
  readonly label: string;
}

/** The databases that were found, the best candidate first. There is always the embedded database. */
export interface Candidates {
  readonly candidates: readonly [Candidate, ...Candidate[]];
  /** One line for each finding that can't be used, with the reason. */
  readonly notes: readonly string[];
}

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Returns the database that the flags name. Undefined if they name none. Throws ETL-2001 if a value of a flag is wrong,
 * and the errors of `readKnexfile`.
 */
export async function findNamedDatabase(
  flags: DatabaseFlags,
  directory: string,
  variables: Variables,
): Promise<Candidate | undefined> {
  if (flags.embedded === true) return EMBEDDED;
  const variable = flags['url-from'];
  if (variable !== undefined) return describeVariable(assertVariableName(variable), variables);
  const path = flags.knexfile ?? (flags.env === undefined ? undefined : findKnexfile(directory));
  if (path !== undefined) {
    const fromDirectory = relative(directory, resolve(directory, path));
    return describeKnex(await readKnexfile({ directory, path: fromDirectory, environment: flags.env }));
  }
  if (flags.env === undefined) return undefined;
  throw new EtlError('ETL-2020', {
    what: `there is no knexfile for --env ${flags.env}`,
    where: directory,
    fix: 'name the file with --knexfile <path>',
    data: 'nothing was written',
  });
}

/** Finds the databases that a project can use: DATABASE_URL, then a knexfile, then the embedded database. */
export async function findDatabases(directory: string, variables: Variables): Promise<Candidates> {
  const found: Candidate[] = [];
  const notes: string[] = [];
  if (isServerUrl(variables['DATABASE_URL'])) found.push(describeVariable('DATABASE_URL', variables));
  const path = findKnexfile(directory);
  if (path !== undefined) {
    try {
      found.push(describeKnex(await readKnexfile({ directory, path, environment: undefined })));
    } catch (error) {
      if (!(error instanceof EtlError)) throw error;
      notes.push(`${path} is not used: ${error.why ?? error.what}`);
    }
  }
  const [first, ...others] = [...found, EMBEDDED] as const;
  return { candidates: [first, ...others], notes };
}

const EMBEDDED: Candidate = {
  choice: { kind: 'embedded' },
  label: 'an embedded PostgreSQL in .etl/db, for a first look',
};

/** Throws ETL-2001 unless a text is the name of a variable. The message does not repeat a text that may be a URL. */
export function assertVariableName(text: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(text)) return text;
  throw new EtlError('ETL-2001', {
    what: 'the value of --url-from is not the name of a variable',
    fix: 'write the name of the environment variable that has the URL: --url-from DATABASE_URL',
  });
}

/** Describes a server whose URL is in a variable. */
export function describeVariable(variable: string, variables: Variables): Candidate {
  return {
    choice: { kind: 'variable', variable },
    label: `${variable} (${describeUrl(variables[variable])})`,
  };
}

function describeKnex(knex: KnexConnection): Candidate {
  const environment = knex.environment === undefined ? '' : `, environment ${knex.environment}`;
  return { choice: { kind: 'knexfile', knex }, label: `${knex.path}${environment} (${knex.place})` };
}

/** Describes the value of a variable, with a masked password. */
function describeUrl(url: string | undefined): string {
  if (url === undefined || url === '') return 'not set';
  try {
    return formatDsn(parseConnection('db', url, 'the variable'));
  } catch {
    return 'not a URL that etl can read'; // `etl doctor` and each run say why.
  }
}

/** Says whether a variable has the URL of a PostgreSQL server. Other tools use DATABASE_URL for other databases. */
function isServerUrl(url: string | undefined): boolean {
  return url !== undefined && /^postgres(?:ql)?:\/\//.test(url);
}
