import { extname } from 'node:path';
import type { KnexConnection } from './knexfile.js';

/** The location of the database of a new project. */
export type DatabaseChoice =
  | { readonly kind: 'embedded' }
  /** `variable` is the environment variable with the URL of a server. */
  | { readonly kind: 'variable'; readonly variable: string }
  | { readonly kind: 'knexfile'; readonly knex: KnexConnection };

/** The ID of the Dag and of the connection in the new config. */
export const DAG_ID = 'shop';
export const CONNECTION_ID = 'db';
/** The table that the Dag makes. No project has a table of this name, because the Dag replaces its rows. */
export const TABLE = 'etl_example_orders';
export const DATA_FILE = 'data/orders.csv';

/** The rows that the Dag loads. */
export const DATA = `id,customer,ordered_on,total
1,Ada,2026-01-05,50.00
2,Grace,2026-01-06,150.50
3,Edsger,2026-01-07,99.95
4,Barbara,2026-01-09,250.00
`;

/**
 * Writes a config with one Dag, which loads `DATA_FILE` and reads the table with a model. `timezone` is that of this
 * machine, for an example in a comment.
 */
export function writeConfig(choice: DatabaseChoice, timezone: string): string {
  const { head, connections } = writeConnection(choice);
  return `${choice.kind === 'embedded' ? '' : `/// <reference types="node" />\n`}import { dag, defineConfig } from '@oneshot/etl';
import { Model } from 'objection';
${head}
/** A row of the table. \`declare\` gives a column its type; without \`declare\`, the field would hide the column. */
class Order extends Model {
  static override tableName = '${TABLE}';
  declare id: string; // bigint: PostgreSQL's numbers can have more digits than JavaScript's
  declare customer: string;
  declare total: string; // numeric
}

// A nightly Dag has a schedule: { schedule: '0 2 * * *', timezone: '${timezone}', … }. Without \`timezone\`, it is UTC.
const ${DAG_ID} = dag('${DAG_ID}', { defaults: { conn: '${CONNECTION_ID}', retries: 2 } }, (d) => {
  const orders = d.load('load-orders', {
    from: '${DATA_FILE}',
    into: '${TABLE}',
    mode: 'replace',
    create: true,
    checks: [{ name: 'no-negative-total', sql: 'select from ${TABLE} where total < 0' }],
  });

  d.session('find-largest', { needs: { orders } }, async ({ session, upstream, log }) => {
    const largest = await Order.query(session).orderBy('total', 'desc').first();
    log('the largest order', { customer: largest?.customer ?? null, of: upstream.orders.rows });
    return { largest: largest?.customer ?? null }; // recorded in the same COMMIT
  });
});

export default defineConfig({
  dags: [${DAG_ID}],
${connections}});
`;
}

/** Writes the code of a connection: what stands before the model, and the key \`connections\` of the config. */
function writeConnection(choice: DatabaseChoice): { readonly head: string; readonly connections: string } {
  if (choice.kind === 'knexfile') return writeKnexConnection(choice.knex);
  const connections =
    choice.kind === 'embedded'
      ? `  // PostgreSQL inside this process, for a first look. ETL_CONN_DB=postgres://… takes your server instead.
  connections: { ${CONNECTION_ID}: 'pglite:.etl/db' },
`
      : `  connections: { ${CONNECTION_ID}: process.env['${choice.variable}'] },\n`;
  return { head: '', connections };
}

/**
 * Writes the code that takes the connection from the knexfile when the config is loaded. So the password stays in the
 * knexfile, or where the knexfile takes it from.
 */
function writeKnexConnection(knex: KnexConnection): {
  readonly head: string;
  readonly connections: string;
} {
  const type = typeof knex.form === 'string' ? writeTextType(knex.form) : writeFieldsType(knex.form);
  const source = knex.isFunction ? 'await knexfile()' : 'knexfile';
  const isByEnvironment = knex.environment !== undefined;
  const shape = isByEnvironment
    ? `Partial<Record<string, { connection: ${type} }>>`
    : `{ connection: ${type} }`;
  const environment = knex.isFixed ? `'${knex.environment}'` : `process.env['NODE_ENV'] ?? 'development'`;
  const found = isByEnvironment
    ? `const environment = ${environment};
const found = (${source} as unknown as ${shape})[environment];
if (found === undefined) throw new Error(\`${knex.path} has no environment "\${environment}"\`);
const { connection } = found;
`
    : `const { connection } = ${source} as unknown as ${shape};\n`;
  return {
    head: `// @ts-ignore -- a knexfile can have no types
import knexfile from '${toSpecifier(knex.path)}';

// The connection stays in the knexfile, with its password.
${found}`,
    connections: `  connections: { ${CONNECTION_ID}: ${writeUrl(knex)} },\n`,
  };
}

function writeTextType(form: 'url' | 'connectionString'): string {
  return form === 'url' ? 'string' : '{ connectionString: string }';
}

function writeFieldsType(fields: readonly string[]): string {
  return `{ ${fields.map((field) => `${field}: ${field === 'port' ? 'string | number' : 'string'}`).join('; ')} }`;
}

/** Writes the expression of the URL of `connection`. */
function writeUrl({ form, query }: KnexConnection): string {
  if (form === 'url') return 'connection';
  if (form === 'connectionString') return 'connection.connectionString';
  const part = (field: string, before = ''): string =>
    form.includes(field) ? `${before}\${encodeURIComponent(connection.${field})}` : '';
  const login = part('user') + part('password', ':');
  const address = part('host') + part('port', ':');
  return `\`postgres://${login}${login === '' ? '' : '@'}${address}/${part('database')}${query && `?${query}`}\``;
}

/** Returns the import of a knexfile: TypeScript asks for the extension of the compiled file. */
function toSpecifier(path: string): string {
  const extension = extname(path);
  const compiled = path.slice(0, -extension.length) + extension.replace('ts', 'js');
  return compiled.startsWith('.') ? compiled : `./${compiled}`;
}

/** Writes a tsconfig.json that checks the config strictly. */
export function writeTsconfig(configPath: string, hasCode: boolean): string {
  const compilerOptions = {
    target: 'ES2022',
    module: 'NodeNext',
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    noImplicitOverride: true,
    skipLibCheck: true,
    noEmit: true,
    types: ['node'],
  };
  // The other files of a project without a tsconfig.json were not written for these options.
  return `${JSON.stringify({ compilerOptions, ...(hasCode && { include: [configPath] }) }, null, 2)}\n`;
}

/** Writes the variables that a project needs, with made-up values. */
export function writeExampleVariables(choice: DatabaseChoice): string {
  const url = 'postgres://<user>:<password>@localhost:5432/<database>';
  const files = '# Copy this file to .env, and run chmod 600 .env. git ignores .env.';
  if (choice.kind === 'variable') return `${files}\n${choice.variable}=${url}\n`;
  const now = choice.kind === 'embedded' ? 'the embedded database' : `the connection of ${choice.knex.path}`;
  return `${files}\n# ETL_CONN_${CONNECTION_ID.toUpperCase()} takes the place of ${now}.\n# ETL_CONN_${CONNECTION_ID.toUpperCase()}=${url}\n`;
}
