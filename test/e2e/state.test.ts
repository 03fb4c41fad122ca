import { expect } from 'chai';
import { createProject, type CliResult, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { Gate } from '../support/gate.js';

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  import { gate } from './gate.ts';
  const copy = dag('shop', { defaults: { conn: 'db' } }, (d) => {
    d.sql('orders', {
      incremental: { table: 'orders', cursor: 'updated_at' },
      file: 'orders.sql',
    });
    d.session('pages', { conn: 'other' }, async ({ watermark }) => {
      const page = await watermark('page');
      page.set(String(Number(page.value ?? 0) + 1));
    });
    d.task('mail', {}, async () => null);
  });
  const slow = dag('slow', { defaults: { conn: 'db' } }, (d) =>
    void d.session('s', {}, async () => void (await gate('in'))));
  const bare = dag('bare', {}, (d) => void d.task('t', {}, async () => null));
  export default defineConfig({ dags: [copy, slow, bare] });`;

const SQL = `
  delete from copy where :full_refresh;
  insert into copy select id from orders where updated_at >= :low and updated_at < :high;`;

describe('etl state', () => {
  let db: TestDatabase;
  let other: TestDatabase;
  let gate: Gate;
  let project: Project;
  before(async () => {
    gate = await Gate.open();
    project = await createProject({ 'etl.config.ts': CONFIG, 'orders.sql': SQL, 'gate.ts': gate.source });
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await gate[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    [db, other] = [await createDatabase(), await createDatabase()];
    await db.query(`
      create table orders (id int primary key, updated_at timestamptz not null default now());
      create table copy (id int);
      insert into orders values (1, '2026-01-01 10:00:00.123456Z'), (2, '2026-02-01Z')`);
  });
  afterEach(async () => {
    await db.drop();
    await other.drop();
  });

  const env = () => ({ ETL_CONN_DB: db.url, ETL_CONN_OTHER: other.url });
  const etl = (...args: string[]): Promise<CliResult> => project.cli(args, env());
  async function json(...args: string[]) {
    const { stdout, stderr } = await etl(...args, '--json');
    expect(stdout, stderr).to.not.equal('');
    return JSON.parse(stdout);
  }
  const copied = async () =>
    (await db.query<{ id: number }>('select id from copy order by id')).map(({ id }) => id);
  const run = async (...flags: string[]) => {
    const result = await etl('run', 'shop', ...flags);
    expect(result.code, result.stderr).to.equal(0);
  };

  it('lists nothing before the first run', async () => {
    expect(await etl('state', 'list')).to.deep.equal({
      code: 0,
      stdout: '',
      stderr: 'no task has a watermark\n',
    });
    expect((await etl('state', 'list', 'shp')).stderr).to.include('did you mean "shop"');
  });

  it('lists the watermarks of all databases, and prints the value and the history of a watermark', async () => {
    await run('--run-id', 'one');
    await run('--run-id', 'two');
    const listed = await json('state', 'list', 'shop');
    expect(listed).to.have.lengthOf(2);
    expect(listed[0]).to.include({
      dag: 'shop',
      task: 'orders',
      name: 'updated_at',
      run_id: 'two',
      connection: 'db',
    });
    expect(listed[0]).to.include({ type: 'timestamp with time zone' });
    expect(listed[1]).to.include({ task: 'pages', name: 'page', value: '2', connection: 'other' });
    expect((await etl('state', 'list')).stdout).to.match(
      /^ {3}DAG +TASK +NAME +VALUE +SET \(UTC\) +BY +CONNECTION\n.*shop +orders +updated_at +20.*two +db\n.*pages +page +2 /,
    );
    expect(await etl('state', 'get', 'shop', 'pages', 'page')).to.deep.equal({
      code: 0,
      stdout: '2\n',
      stderr: '',
    });
    const history = await json('state', 'get', 'shop', 'pages', '--history');
    expect(
      history.map(({ value, set_by, run_id }: Record<string, string>) => [value, set_by, run_id]),
    ).to.deep.equal([
      ['2', 'task', 'two'],
      ['1', 'task', 'one'],
    ]);
  });

  it('sets a watermark in the text form of its type, and the next run continues from the value', async () => {
    await run();
    const { code, stderr } = await etl('state', 'set', 'shop', 'orders', 'updated_at', '2026-01-15T00:00+02');
    expect({ code, stderr }).to.deep.equal({
      code: 0,
      stderr: 'updated_at of "orders" is 2026-01-14 22:00:00.000000+00 now\n',
    });
    await run();
    expect(await copied()).to.deep.equal([1, 2, 2]);
    const [, change] = await json('state', 'get', 'shop', 'orders', '--history');
    expect(change).to.include({ set_by: 'cli', value: '2026-01-14 22:00:00.000000+00' });
    expect(change).to.not.have.property('run_id');
  });

  it('sets a watermark before the first run, which then begins at midnight in UTC', async () => {
    await etl('state', 'set', 'shop', 'orders', 'updated_at', '2026-01-15');
    await run();
    expect(await copied()).to.deep.equal([2]);
  });

  it('clears one watermark or all watermarks of a task, and the next run begins with the first row', async () => {
    await run();
    expect((await etl('state', 'clear', 'shop', 'orders')).stderr).to.equal(
      'removed updated_at of "orders"\n',
    );
    expect(await json('state', 'clear', 'shop', 'pages', 'page')).to.deep.equal({
      dag: 'shop',
      task: 'pages',
      cleared: ['page'],
    });
    const [cleared] = await json('state', 'get', 'shop', 'orders', '--history');
    expect(cleared).to.include({ set_by: 'cli', value: null });
    await run();
    expect(await copied()).to.deep.equal([1, 1, 2, 2]);
    expect((await etl('state', 'get', 'shop', 'pages', 'page')).stdout).to.equal('1\n');
  });

  it('is ignored by a full refresh of all tasks or of one task', async () => {
    await run();
    await run('--full-refresh-task', 'pages');
    await run('--full-refresh');
    expect(await copied()).to.deep.equal([1, 2]);
    expect((await etl('state', 'get', 'shop', 'pages', 'page')).stdout).to.equal('1\n');
  });

  it('refuses changes while a run of the Dag is running, and lists watermarks', async () => {
    await run();
    const { ended } = project.start(['run', 'slow'], env());
    const arrival = await gate.next();
    expect((await etl('state', 'set', 'shop', 'pages', 'page', '5')).code, 'another Dag').to.equal(0);
    const refused = await etl('state', 'set', 'slow', 's', 'page', '5');
    expect(refused.code).to.equal(75);
    expect(refused.stderr).to.include('ETL-7501');
    expect((await etl('state', 'clear', 'slow', 's')).code).to.equal(75);
    expect((await etl('state', 'list', 'slow')).code).to.equal(0);
    arrival.open();
    expect((await ended).code).to.equal(0);
  });

  const wrong: readonly [what: string, args: readonly string[], message: RegExp][] = [
    ['a Dag that does not exist', ['set', 'shp', 'orders', 'a', 'b'], /did you mean "shop"/],
    ['a task that does not exist', ['set', 'shop', 'order', 'a', 'b'], /did you mean "orders"/],
    ['a task without a connection', ['set', 'shop', 'mail', 'a', 'b'], /works without a connection/],
    ['a Dag without a connection', ['clear', 'bare', 't'], /has no connection/],
    [
      'a watermark that does not exist',
      ['get', 'shop', 'orders', 'update_at'],
      /no watermark "update_at"; did you mean "updated_at"/,
    ],
    ['clearing a watermark that does not exist', ['clear', 'shop', 'orders', 'x'], /no watermark "x"/],
    [
      'the history of a watermark that does not exist',
      ['get', 'shop', 'orders', 'x', '--history'],
      /no watermark "x"/,
    ],
    [
      'a value of another type',
      ['set', 'shop', 'orders', 'updated_at', 'soon'],
      /is of type timestamp with time zone/,
    ],
    [
      'a full refresh of a task that does not exist',
      ['run', 'shop', '--full-refresh-task', 'order'],
      /did you mean "orders"/,
    ],
    [
      'a full refresh of a resumed run',
      ['run', 'shop', '--resume', '--full-refresh'],
      /does not go with --resume/,
    ],
  ];
  it('exits 2 for a wrong Dag, task, watermark or value, and changes nothing', async () => {
    await run();
    for (const [what, args, message] of wrong) {
      const { code, stderr } = await etl(...(args[0] === 'run' ? [] : ['state']), ...args);
      expect(code, `${what}: ${stderr}`).to.equal(2);
      expect(stderr).to.match(message);
    }
    expect(await json('state', 'list', 'shop')).to.have.lengthOf(2);
  });
});
