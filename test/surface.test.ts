import { expect } from 'chai';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { COMMANDS } from '../src/commands/index.js';
import { EtlCommand } from '../src/command.js';
import { EXIT, EtlError } from '../src/errors.js';
import { dag, type DagBuilder } from '../src/index.js';
import { createProject, ROOT, type Project } from './support/cli.js';
import { createDatabase, type TestDatabase } from './support/database.js';

/**
 * The committed snapshot of the names that users build on: commands, exit codes, fields in JSON, error codes, columns.
 * The tests compare the snapshot with the code, so nobody changes such a name by accident. To write the snapshot:
 * `UPDATE_SURFACE=1 npx mocha --no-package --import=tsx test/surface.test.ts`
 */
const SNAPSHOT = join(ROOT, 'test/fixtures/surface.json');
const isUpdate = process.env['UPDATE_SURFACE'] === '1';

const CONFIG = `
  import { dag, defineConfig, SkipTask } from '@oneshot/etl';
  const options = { schedule: '0 2 1 * *', startDate: '2020-08-01', defaults: { conn: 'db' } };
  export default defineConfig({
    dags: [
      dag('all', { ...options, description: 'Every event' }, (d) => {
        d.session('good', {}, async ({ session, log, progress }) => {
          log('said', { any: 1 });
          progress(1);
          await session.raw('select 1');
          return { some: 'result' };
        });
        d.session('again', { retries: 1, backoff: { initial: 1 } }, async ({ run }) => {
          if (run.attempt === 1) throw new Error('not yet');
        });
        const broken = d.sql('broken', { sql: 'select 1/0' });
        d.sql('checked', { sql: 'select 1', checks: [{ name: 'never', sql: 'select 1' }] });
        d.task('after', { needs: { broken } }, async () => null);
        d.task('skipped', {}, async () => { throw new SkipTask('nothing to do'); });
      }),
      dag('slow', options, (d) => { d.sql('sleep', { sql: 'select pg_sleep(30)' }); }),
    ],
  });`;

describe('the surface', () => {
  let db: TestDatabase;
  let project: Project;
  let expected: Record<string, unknown> = {};
  const found: Record<string, unknown> = {};

  before(async () => {
    if (!isUpdate) expected = JSON.parse(await readFile(SNAPSHOT, 'utf8'));
    db = await createDatabase();
    project = await createProject({ 'etl.config.ts': CONFIG, '.env': `ETL_CONN_DB=${db.url}` });
    await chmod(join(project.directory, '.env'), 0o644); // The run reports a notice about these permissions.
  });
  after(async function () {
    await project[Symbol.asyncDispose]();
    await db.drop();
    const isWhole = this.test?.parent?.tests.every((test) => test.isPassed());
    if (isUpdate && isWhole) await writeFile(SNAPSHOT, `${JSON.stringify(found, null, 2)}\n`);
  });

  function compare(section: string, value: unknown): void {
    found[section] = value;
    if (!isUpdate) expect(value).to.deep.equal(expected[section]);
  }

  async function json(args: readonly string[]): Promise<unknown> {
    const { stdout, stderr } = await project.cli(args);
    expect(stdout, stderr).to.match(/^[[{]/);
    return JSON.parse(stdout);
  }

  it('has these names in the package', async () => {
    const source = await readFile(join(ROOT, 'src/index.ts'), 'utf8');
    const lists = [...source.matchAll(/export (?:type )?\{([^}]*)\}/g)].map(([, list = '']) => list);
    const names = lists.flatMap((list) => list.split(',').map((name) => name.replace('type ', '').trim()));
    compare('exports', names.filter((name) => name !== '').toSorted());
  });

  it('has these options of a Dag and of each kind of task', () => {
    const define = (options: object, add: (d: DagBuilder<object, undefined>) => void = () => undefined) =>
      dag('d', options, add);
    const wrong = { '?': 1 } as object;
    compare('options', {
      dag: optionsNamedBy(() => define(wrong)),
      defaults: optionsNamedBy(() => define({ defaults: wrong })),
      session: optionsNamedBy(() => define({}, (d) => d.session('t', wrong, async () => null))),
      sql: optionsNamedBy(() => define({}, (d) => d.sql('t', wrong))),
      load: optionsNamedBy(() => define({}, (d) => d.load('t', wrong as never))),
      transfer: optionsNamedBy(() => define({}, (d) => d.transfer('t', wrong as never))),
      unload: optionsNamedBy(() => define({}, (d) => d.unload('t', wrong as never))),
      task: optionsNamedBy(() => define({}, (d) => d.task('t', wrong, async () => null))),
    });
  });

  it('has these commands, arguments and flags', () => {
    compare('global flags', Object.fromEntries(Object.entries(EtlCommand.baseFlags).map(flagFacts)));
    compare(
      'commands',
      Object.fromEntries(
        Object.entries(COMMANDS).map(([id, command]) => [
          id.replaceAll(':', ' '),
          {
            args: Object.entries<{ required?: boolean }>('args' in command ? command.args : {}).map(
              ([name, { required }]) => (required ? name : `[${name}]`),
            ),
            flags: Object.fromEntries(Object.entries(command.flags ?? {}).map(flagFacts)),
          },
        ]),
      ),
    );
  });

  it('has these exit codes', () => compare('exit codes', EXIT));

  it('has these fields in each event of --reporter ndjson', async () => {
    const runs = [
      ['run', 'all', '--reporter', 'ndjson'],
      ['run', 'all', '--reporter', 'ndjson', '--resume'],
      ['run', 'slow', '--reporter', 'ndjson', '--timeout', '2s'],
    ];
    const events: { readonly event: string }[] = [];
    for (const args of runs) {
      const { stdout } = await project.cli(args);
      events.push(
        ...stdout
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line)),
      );
    }
    const kinds = [...new Set(events.map(({ event }) => event))].toSorted();
    const fields = kinds.map((kind) => [kind, shapeOf(events.filter(({ event }) => event === kind))]);
    compare('events', Object.fromEntries(fields));
    const source = await readFile(join(ROOT, 'src/runtime/report/event.ts'), 'utf8');
    const declared = [...source.matchAll(/readonly type: '(\w+)'/g)].map(([, kind = '']) => kind);
    expect(kinds, 'this test sees every event').to.deep.equal(declared.toSorted(byCodeUnit));
  });

  it('has these fields in what --json prints', async () => {
    const wrong = ['--conn', 'db=postgres://u@127.0.0.1:1/x'];
    compare('json', {
      run: shapeOf([await json(['run', 'all', '--json'])]),
      list: shapeOf([await json(['list', '--json'])]),
      check: shapeOf([await json(['check', '--json']), await json(['check', '--json', ...wrong])]),
      'connections list': shapeOf([await json(['connections', 'list', '--json', '--conn', 'bad=bad'])]),
      'connections test': shapeOf([await json(['connections', 'test', '--json', '--conn', 'bad=bad'])]),
      error: shapeOf([
        await json(['run', 'al', '--json']),
        await json(['connections', 'test', 'x', '--json']),
      ]),
    });
  });

  it('has these columns in the schema etl', async () => {
    const columns = await db.query<{ name: string; type: string }>(
      `select table_name || '.' || column_name as name,
              data_type || case is_nullable when 'NO' then ' not null' else '' end as type
       from information_schema.columns where table_schema = 'etl' order by table_name, ordinal_position`,
    );
    compare('ledger', Object.fromEntries(columns.map(({ name, type }) => [name, type])));
  });

  it('has these error codes', async () => {
    const files = (await readdir(join(ROOT, 'src'), { recursive: true })).filter((name) =>
      name.endsWith('.ts'),
    );
    const codes = new Set<string>();
    for (const file of files) {
      const text = await readFile(join(ROOT, 'src', file), 'utf8');
      for (const [code] of text.matchAll(/(?<=['"`])ETL-\d{4}(?=['"`])/g)) codes.add(code);
    }
    compare('error codes', [...codes].toSorted());
  });
});

interface Flag {
  readonly type: string;
  readonly char?: string;
  readonly options?: readonly string[];
  readonly default?: string;
  readonly multiple?: boolean;
  readonly required?: boolean;
  readonly allowNo?: boolean;
}

function flagFacts([name, flag]: [string, object]): [string, string] {
  const { char, type, options, default: value, multiple, required, allowNo } = flag as Flag;
  const facts = [
    type,
    char !== undefined && `-${char}`,
    options?.join('|'),
    value !== undefined && `default ${value}`,
    multiple && 'multiple',
    required && 'required',
    allowNo && 'negatable',
  ];
  return [name, facts.filter(Boolean).join(', ')];
}

/** Returns the options that the error about an unknown option names. */
function optionsNamedBy(define: () => unknown): readonly string[] {
  try {
    define();
  } catch (error) {
    const names =
      error instanceof EtlError ? error.fix?.replace('the options are ', '').split(', ') : undefined;
    if (names !== undefined) return names.toSorted();
    throw error;
  }
  throw new Error('an unknown option was accepted');
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** Returns the types of each path in the values: `{ "tasks[].rows": "number" }`. Leaves out the fields of a task's log. */
function shapeOf(values: readonly unknown[]): Record<string, string> {
  const types = new Map<string, Set<string>>();
  const visit = (value: unknown, path: string): void => {
    if (Array.isArray(value)) return value.forEach((each) => visit(each, `${path}[]`));
    if (typeof value === 'object' && value !== null && path !== 'fields') {
      for (const [name, each] of Object.entries(value)) visit(each, path === '' ? name : `${path}.${name}`);
      return;
    }
    types.set(path, (types.get(path) ?? new Set()).add(value === null ? 'null' : typeof value));
  };
  for (const value of values) visit(value, '');
  const sorted = [...types].toSorted(([a], [b]) => byCodeUnit(a, b));
  return Object.fromEntries(sorted.map(([path, names]) => [path, [...names].toSorted().join(' or ')]));
}
