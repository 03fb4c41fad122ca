import { type CliResult, createProject, type Project, ROOT } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { Gate } from '../support/gate.js';

/** The tools of a plant: an empty project, an empty database that the connection `shop` names, and a gate. */
interface Ground {
  readonly project: Project;
  readonly db: TestDatabase;
  readonly gate: Gate;
}

/** A call of `etl`, as a user types it, and what the user sees. */
interface Shown {
  readonly call: string;
  readonly result: CliResult;
}

/** Plants one failure in a project, and runs the program. */
type Plant = (ground: Ground) => Promise<Shown>;

/** The text of a config with one Dag, whose ID is `nightly`. */
const writeConfig = (tasks: string, options = '', head = ''): string => `${head}
import { dag, defineConfig } from '@oneshot/etl';

const nightly = dag('nightly', { ${options}defaults: { conn: 'shop' } }, (d) => {
${tasks}
});

export default defineConfig({ dags: [nightly], connections: { shop: process.env['SHOP_URL'] } });
`;

/** Returns a plant: writes the files, runs the SQL in the database, and calls `etl run nightly` on the URL. */
function plant(
  files: Readonly<Record<string, string>>,
  { sql = '', url = (given: URL): URL => given, args = '', env = {} }: PlantOptions = {},
): Plant {
  return async ({ project, db }) => {
    await project.write(files);
    if (sql !== '') await db.query(sql);
    return run(project, { SHOP_URL: url(new URL(db.url)).href, ...env }, args);
  };
}

interface PlantOptions {
  readonly sql?: string;
  /** Changes the URL of the connection. */
  readonly url?: (given: URL) => URL;
  /** More words of the command line. */
  readonly args?: string;
  readonly env?: Readonly<Record<string, string>>;
}

async function run(project: Project, env: Readonly<Record<string, string>>, args = ''): Promise<Shown> {
  const words = ['run', 'nightly', ...args.split(' ').filter(Boolean)];
  return { call: `etl ${words.join(' ')}`, result: await project.cli(words, env) };
}

const ORDERS =
  'create table orders (id int primary key, customer text not null, total numeric(10, 2) not null);';

/** A task that waits at the gate in the middle of its transaction. */
const WAITING = `  d.session('close-month', {}, async ({ session }) => {
    await session('orders').insert({ id: 1, customer: 'Ann', total: 10 });
    await gate('written');
    await session('orders').update({ total: 0 });
  });`;

/** Runs the task `WAITING`, and calls `act` while the task waits. */
function plantWhileTaskWaits(act: (ground: Ground) => Promise<unknown>): Plant {
  return async (ground) => {
    const { project, db, gate } = ground;
    await project.write({
      'etl.config.ts': writeConfig(WAITING, '', `import { gate } from './gate.ts';`),
      'gate.ts': gate.source,
    });
    await db.query(ORDERS);
    const { ended } = project.start(['run', 'nightly'], { SHOP_URL: db.url });
    const arrival = await gate.next();
    await act(ground);
    arrival.open();
    return { call: 'etl run nightly', result: await ended };
  };
}

/** Returns the URL of a new role of the server, which may open this many sessions. */
async function createRole(db: TestDatabase, limit: number): Promise<{ url: URL; role: string }> {
  const role = `etl_reports_${db.name.slice(-8)}`;
  await db.query(`create role ${role} login password 'only-for-this-test' connection limit ${limit};
    grant create on database ${db.name} to ${role}; grant all on schema public to ${role}`);
  const url = new URL(db.url);
  [url.username, url.password] = [role, 'only-for-this-test'];
  return { url, role };
}

const TWENTY = Array.from({ length: 20 }, (_, index) => {
  const id = index === 12 ? 5 : index + 1;
  return `    await session('orders').insert({ id: ${id}, customer: 'customer ${index + 1}', total: ${index + 1} });`;
}).join('\n');

/** The planted failures by title. The order is the order of the committed file. */
export const PLANTS: ReadonlyMap<string, Plant> = new Map<string, Plant>([
  [
    'wrong column',
    plant(
      {
        'etl.config.ts': writeConfig(`  d.session('big-orders', {}, async ({ session }) => {
    return { big: (await session('orders').where('totl', '>', 100)).length };
  });`),
      },
      { sql: ORDERS },
    ),
  ],
  [
    'bad CSV line',
    plant(
      {
        'etl.config.ts': writeConfig(
          `  d.load('load-orders', { from: 'orders.csv', into: 'orders', mode: 'replace' });`,
        ),
        'orders.csv': 'id,customer,total\n1,Ann,10.00\n2,Bob,"12,5"\n3,Cem,7.25\n',
      },
      { sql: ORDERS },
    ),
  ],
  [
    'unreachable host',
    plant(
      { 'etl.config.ts': writeConfig(`  d.sql('tidy', { sql: 'delete from orders where total = 0' });`) },
      {
        url: (given) => {
          given.port = '1';
          return given;
        },
      },
    ),
  ],
  [
    'bad password',
    plant(
      { 'etl.config.ts': writeConfig(`  d.sql('tidy', { sql: 'delete from orders where total = 0' });`) },
      {
        url: (given) => {
          given.password = 'not-the-password';
          return given;
        },
      },
    ),
  ],
  [
    'deadlock',
    async ({ project, db }) => {
      // The shop locks the two rows in the other order, in each attempt. Its own deadlock check comes too late.
      await project.write({
        'etl.config.ts': writeConfig(
          `  d.session('discounts', {}, async ({ session }) => {
    await session('orders').where({ id: 1 }).update({ total: 9 });
    const end = await lockInOtherOrder();
    try {
      await session('orders').where({ id: 2 }).update({ total: 19 });
    } finally {
      await end();
    }
  });`,
          '',
          `import { lockInOtherOrder } from './shop.ts';`,
        ),
        'shop.ts': `import pg from 'pg';
          export async function lockInOtherOrder(): Promise<() => Promise<void>> {
            const shop = new pg.Client({ connectionString: process.env['SHOP_URL'], application_name: 'shop' });
            shop.on('error', () => undefined);
            await shop.connect();
            await shop.query("set deadlock_timeout = '1h'");
            await shop.query('begin; update orders set total = 1 where id = 2');
            const waiting = shop.query('update orders set total = 1 where id = 1').catch(() => undefined);
            return async () => { shop.connection.stream.destroy(); await waiting; };
          }`,
      });
      await db.query(
        `alter database ${db.name} set deadlock_timeout = '20ms';
         ${ORDERS} insert into orders values (1, 'Ann', 10), (2, 'Bob', 20)`,
      );
      return run(project, { SHOP_URL: db.url });
    },
  ],
  [
    'swallowed error',
    plant(
      {
        'etl.config.ts': writeConfig(`  d.session('import-orders', {}, async ({ session }) => {
    for (const id of [1, 2, 2, 3]) {
      try {
        await session('orders').insert({ id, customer: 'Ann', total: 10 });
      } catch {
        // The order exists already.
      }
    }
    return { imported: 4 };
  });`),
      },
      { sql: ORDERS },
    ),
  ],
  [
    'missing variable',
    async ({ project }) => {
      await project.write({
        'etl.config.ts': writeConfig(`  d.sql('tidy', { sql: 'delete from orders where total = 0' });`),
      });
      return run(project, {});
    },
  ],
  [
    'syntax error in the config',
    plant({
      'etl.config.ts': writeConfig(`  d.sql('tidy', { sql: 'delete from orders where total = 0' );`),
    }),
  ],
  [
    'syntax error in a .sql file',
    plant(
      {
        'etl.config.ts': writeConfig(`  d.sql('report', { file: 'sql/report.sql' });`),
        'sql/report.sql':
          'create temporary table report as\n  select customer, sum(total) as total\n  from orders\n  gruop by customer;\n',
      },
      { sql: ORDERS },
    ),
  ],
  [
    'disk full',
    plant(
      {
        'etl.config.ts': writeConfig(
          `  d.unload('export-orders', { table: 'orders', to: 'out/orders.csv' });`,
        ),
        // The kernel answers each write to /dev/full with ENOSPC.
        'full-disk.cjs': `const fs = require('node:fs/promises');
          const { open } = fs;
          fs.open = (path, flags, mode) => String(path).endsWith('.tmp') ? open('/dev/full', 'w') : open(path, flags, mode);`,
      },
      { sql: ORDERS, env: { NODE_OPTIONS: '--require ./full-disk.cjs' } },
    ),
  ],
  [
    'lock held by another run',
    async ({ project, db, gate }) => {
      await project.write({
        'etl.config.ts': writeConfig(WAITING, '', `import { gate } from './gate.ts';`),
        'gate.ts': gate.source,
      });
      await db.query(ORDERS);
      const first = project.start(['run', 'nightly'], { SHOP_URL: db.url });
      const arrival = await gate.next();
      const second = await run(project, { SHOP_URL: db.url });
      arrival.open();
      await first.ended;
      return second;
    },
  ],
  [
    'fetch refused',
    async ({ project, db }) => {
      // A port on which nothing listens any more.
      const closed = await Gate.open();
      const { port } = closed;
      await closed[Symbol.asyncDispose]();
      await project.write({
        'etl.config.ts': writeConfig(`  d.task('rates', {}, async () => {
    const response = await fetch('http://127.0.0.1:${port}/rates.json');
    return (await response.json()) as { eur: number };
  });`),
      });
      const { call, result } = await run(project, { SHOP_URL: db.url });
      return { call, result: { ...result, stderr: result.stderr.replaceAll(String(port), '8080') } };
    },
  ],
  [
    'unique violation in a task of 20 statements',
    plant(
      {
        'etl.config.ts': writeConfig(
          `  d.session('import-orders', {}, async ({ session }) => {\n${TWENTY}\n  });`,
        ),
      },
      { sql: ORDERS },
    ),
  ],
  [
    'timeout',
    plant({
      'etl.config.ts': writeConfig(`  d.sql('refresh', {
    timeout: '1s',
    sql: 'select count(*) from generate_series(1, 10000000000)',
  });`),
    }),
  ],
  [
    'failed check',
    plant(
      {
        'etl.config.ts': writeConfig(`  d.load('load-orders', {
    from: 'orders.csv',
    into: 'orders',
    mode: 'replace',
    checks: [{ name: 'no-negative-total', sql: 'select id from orders where total < 0' }],
  });`),
        'orders.csv': 'id,customer,total\n1,Ann,10.00\n2,Bob,-5.00\n3,Cem,-0.01\n',
      },
      { sql: ORDERS },
    ),
  ],
  [
    'wrong time zone',
    plant({
      'etl.config.ts': writeConfig(
        `  d.sql('tidy', { sql: 'delete from orders where total = 0' });`,
        `schedule: '0 2 * * *', timezone: 'Europe/Berln', `,
      ),
    }),
  ],
  [
    'missing package',
    plant({
      'etl.config.ts': writeConfig(
        `  d.task('rates', {}, async () => parse('1;2'));`,
        '',
        `import { parse } from 'csv-parse/sync';`,
      ),
    }),
  ],
  [
    'read-only database',
    plant(
      {
        'etl.config.ts': writeConfig(
          `  d.load('load-orders', { from: 'orders.csv', into: 'orders', mode: 'replace' });`,
        ),
        'orders.csv': 'id,customer,total\n1,Ann,10.00\n',
      },
      {
        sql: ORDERS,
        url: (given) => {
          // `searchParams` would write the space as `+`, which libpq takes for a plus.
          given.search = '?options=-c%20default_transaction_read_only%3Don';
          return given;
        },
      },
    ),
  ],
  [
    'killed backend',
    plantWhileTaskWaits(({ db }) =>
      db.query(`select pg_terminate_backend(pid, 10000) from pg_stat_activity
                where application_name = 'etl:nightly/close-month' and datname = current_database()`),
    ),
  ],
  [
    'out of connections',
    async ({ project, db }) => {
      await project.write({
        'etl.config.ts': writeConfig(
          `  d.sql('tidy', { sql: 'select 1' });\n  d.sql('report', { sql: 'select 2' });`,
        ),
      });
      const { url, role } = await createRole(db, 1);
      try {
        return await run(project, { SHOP_URL: url.href });
      } finally {
        await db.leftSessions();
        await db.query(`drop owned by ${role} cascade; drop role ${role}`);
      }
    },
  ],
  [
    'Ctrl-C',
    async ({ project, db }) => {
      await project.write({
        'etl.config.ts': writeConfig(`  d.session('close-month', {}, async ({ session }) => {
    await session('orders').insert({ id: 1, customer: 'Ann', total: 10 });
    await session.raw('select count(*) from generate_series(1, 10000000000)');
  });`),
      });
      await db.query(ORDERS);
      const { child, ended } = project.start(['run', 'nightly'], { SHOP_URL: db.url });
      const running = `select from pg_stat_activity where datname = current_database() and state = 'active'
        and query like 'select count(*) from generate_series%'`;
      while (child.exitCode === null && (await db.query(running)).length === 0);
      child.kill('SIGINT');
      return { call: 'etl run nightly', result: await ended };
    },
  ],
]);

/** Plants one failure in a project and a database of its own. Returns what the user sees, as the committed file has it. */
export async function showPlanted(failure: Plant): Promise<string> {
  await using db = await createDatabase({ mayLeak: true });
  await using gate = await Gate.open();
  await using project = await createProject({});
  const { call, result } = await failure({ project, db, gate });
  const { code, stdout, stderr } = result;
  const shown = [`$ ${call}`, stdout.trimEnd(), stderr.trimEnd(), `exit code ${code}`].filter(Boolean);
  return normalize(shown.join('\n'), { project: project.directory, gate: String(gate.port), db });
}

/** Replaces what differs in each run: times, ports, IDs and paths of the test. */
function normalize(
  text: string,
  { project, gate, db }: { readonly project: string; readonly gate: string; readonly db: TestDatabase },
): string {
  return text
    .replaceAll(project, '/home/me/shop')
    .replaceAll(ROOT, '/usr/lib/etl')
    .replaceAll(gate, '40000')
    .replaceAll(db.name, 'shop')
    .replaceAll(`etl_reports_${db.name.slice(-8)}`, 'reports')
    .replaceAll(new URL(db.url).port, '5432')
    .replaceAll(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?/g, '2026-03-01 02:00')
    .replaceAll(/\d{8}T\d{6}Z-[0-9a-f]{8}/g, '20260301T020000Z-74d1cc0c')
    .replaceAll(/\d\d:\d\d:\d\d UTC \(\d+ s ago\)/g, '02:00:00 UTC (1 s ago)')
    .replaceAll(/(?<= starts in |^ [✔✖] [\w-]+  |^(?:OK|FAILED) .*, )[\d.]+(?:ms|s)/gm, '0.1s')
    .replaceAll(/(?<=\bpid |\b[Pp]rocess |\bbackend )\d+/g, number(4711))
    .replaceAll(/(?<=\btransaction )\d+/g, number(812))
    .replaceAll(/on host [\w.-]+/g, 'on host etl-1');
}

/** Returns a function that replaces the first text by `first`, each other new text by the next number. */
function number(first: number): (text: string) => string {
  const seen: string[] = [];
  return (text) => {
    if (!seen.includes(text)) seen.push(text);
    return String(first + seen.indexOf(text));
  };
}
