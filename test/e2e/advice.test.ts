import { expect } from 'chai';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createProject, type Project } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const CONFIG = `
  import { dag, defineConfig } from '@oneshot/etl';
  import { Model } from 'objection';
  import { z } from 'zod';
  class Customer extends Model { static tableName = 'customer'; }
  export default defineConfig({ dags: [
    dag('bare', {}, (d) => void d.task('a', {}, async () => null)),
    dag('typed', { params: z.object({ region: z.string().optional(), minTotal: z.coerce.number().optional() }),
      defaults: { conn: 'db' } }, (d) => void d.sql('a', { sql: 'select 1' })),
    dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('forgot', {}, async () => { await Customer.query(); });
      d.session('many', {}, async ({ session }) => {
        await session('t').insert(Array.from({ length: 33000 }, (_, i) => ({ id: i, v: 'x' })));
      });
      d.session('read-only', {}, async ({ session }) => {
        await session.raw('set transaction read only');
        await session('t').insert({ id: 1, v: 'x' });
      });
      d.load('semicolons', { from: 'semicolons.csv', into: 't', mode: 'append' });
      d.load('tabs', { from: 'tabs.csv', into: 't', mode: 'append' });
      d.load('latin', { from: 'latin.csv', into: 't', mode: 'append' });
      d.load('incoming', { from: 'null.csv', into: 't', mode: 'merge', key: ['id'], rejects: { to: 'r.ndjson', max: 0 } });
      d.load('kept', { from: 'null.csv', into: 't', mode: 'merge', key: ['id'], rejects: { to: 'rejected', max: 9 } });
    }),
  ] });`;

describe('what a message advises to do', () => {
  let db: TestDatabase;
  let project: Project;
  let errors: Map<string, Record<string, string>>;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id int primary key, v text not null check (v <> $$bad$$))');
    project = await createProject({
      'etl.config.ts': CONFIG,
      'semicolons.csv': 'id;v\n1;x\n',
      'tabs.csv': '"id"\tv\n1\tx\n',
      'null.csv': 'id,v\n1,bad\n',
    });
    await writeFile(join(project.directory, 'latin.csv'), Buffer.from('id,v\n1,M\xfcller\n', 'latin1'));
    const { stdout } = await etl('run', 'd', '--json');
    errors = new Map(
      JSON.parse(stdout).tasks.map((task: { task: string; error: object }) => [task.task, task.error]),
    );
  });
  after(async () => {
    await project[Symbol.asyncDispose]();
    await db.drop();
  });

  const etl = (...args: string[]) => project.cli(args, { ETL_CONN_DB: db.url });

  for (const [title, task, advice] of [
    ['to pass the session to a query of a model', 'forgot', /Customer\.query\(session\)/],
    ['to send fewer values at once', 'many', /insert in smaller parts/],
    ['to connect to a server that accepts writes', 'read-only', /target_session_attrs=read-write/],
    ['to set the delimiter of a file with semicolons', 'semicolons', /set `csv: \{ delimiter: ";" \}`/],
    ['to set the delimiter of a file with tabs', 'tabs', /set `csv: \{ delimiter: "\\t" \}`/],
    ['to name the encoding of a file that is not UTF-8', 'latin', /encoding: "windows-1252"/],
  ] as const) {
    it(`is ${title}`, () => expect(errors.get(task)?.['fix']).to.match(advice));
  }

  it('never names a table of the program itself, also not in the reason of a rejected row', async () => {
    expect(JSON.stringify(errors.get('incoming'))).to.not.include('etl_incoming');
    expect(errors.get('incoming')?.['why']).to.include('relation "t"');
    const [kept] = await db.query<{ reason: string }>('select reason from rejected');
    expect(kept?.reason).to.include('relation "t"').and.not.include('etl_incoming');
  });

  it('is not about a flag that the user did not give', async () => {
    const { stderr } = await etl('run', 'bare', '--task', 'a', '--run-id', 'r1');
    expect(stderr).to.include('without --task').and.not.include('--resume');
  });

  it('lists the params of the Dag, also the optional ones', async () => {
    const { stderr } = await etl('run', 'typed', '-p', 'regoin=eu');
    expect(stderr).to.include('region, minTotal').and.include('did you mean "region"?');
  });

  it('lists the Dags if the command line names none', async () => {
    const { code, stderr } = await etl('run');
    expect(code).to.equal(2);
    expect(stderr).to.include('the Dags of etl.config.ts are bare, typed, d');
  });

  it('comes with the ID of the run in each event of a resumed run', async () => {
    await project.write({ '.env': `ETL_CONN_DB=${db.url}` });
    await chmod(join(project.directory, '.env'), 0o644); // The run reports a notice about these permissions.
    const { stdout } = await project.cli(['run', 'd', '--resume', '--reporter', 'ndjson']);
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events.some(({ event }) => event === 'notice')).to.equal(true);
    expect(new Set(events.map(({ run_id }) => run_id)).size).to.equal(1);
    expect(events[0].run_id).to.not.equal('');
  });
});
