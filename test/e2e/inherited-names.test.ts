import { expect } from 'chai';
import { createProject } from '../support/cli.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** The names of the properties that every object inherits. */
const NAMES = Object.getOwnPropertyNames(Object.prototype);
/** Those that can be an ID, which begins with a letter. */
const IDS = NAMES.filter((name) => /^[a-z]/i.test(name));

describe('a name that every object inherits', () => {
  let db: TestDatabase;
  before(async () => (db = await createDatabase()));
  after(() => db.drop());

  it('is the ID of a Dag, a task and a connection, and the name of a need', async function () {
    this.timeout(300_000);
    // One Dag for each name. Its tasks have all names, and each needs the task before it by its name.
    await using project = await createProject({
      'etl.config.ts': `
        import { dag, defineConfig } from '@oneshot/etl';
        const names = ${JSON.stringify(IDS)};
        const make = (id) => dag(id, { defaults: { conn: id } }, (d) => {
          let before;
          for (const name of names) {
            const needs = Object.fromEntries(before ? [[before.id, before.task]] : []);
            const last = before?.id;
            const task = d.session(name, { needs }, async ({ session, upstream }) => {
              const { rows } = await session.raw('select 1 as one');
              return { n: rows[0].one + (last === undefined ? 0 : upstream[last].n) };
            });
            before = { id: name, task };
          }
        });
        export default defineConfig({ dags: names.map(make) });`,
    });
    // A config refuses such keys. The environment is the other place for connections.
    const env = Object.fromEntries(IDS.map((id) => [`ETL_CONN_${id.toUpperCase()}`, db.url]));
    const listed = await project.cli(['list', '--json'], env);
    expect(listed.code, listed.stderr).to.equal(0);
    expect(JSON.parse(listed.stdout).map(({ dag }: { dag: string }) => dag)).to.have.members(IDS);
    for (const name of IDS) {
      const { stdout, stderr } = await project.cli(['run', name, '--json'], env);
      const { tasks, error } = JSON.parse(stdout);
      expect(error, `${name} ${stderr}`).to.equal(undefined);
      expect(tasks.map(({ task, state }: Record<string, string>) => `${task} ${state}`)).to.deep.equal(
        IDS.map((task) => `${task} success`),
      );
      const last = IDS.at(-1);
      const [row] = await db.query('select result from etl.task where dag_id = $1 and task_id = $2', [
        name,
        last,
      ]);
      expect(row?.['result']).to.deep.equal({ n: IDS.length });
    }
  });

  it('is the name of a param, with its value and its default', async () => {
    await using project = await createProject({
      'etl.config.ts': `
        import { dag, defineConfig } from '@oneshot/etl';
        import { z } from 'zod';
        const names = ${JSON.stringify(NAMES.filter((name) => name !== '__proto__'))};
        const params = z.object(Object.fromEntries(names.map((name) => [name, z.string().default('d')])));
        export default defineConfig({ dags: [dag('d', { params, defaults: { conn: 'default' } }, (d) => {
          d.task('t', {}, async ({ params }) => Object.fromEntries(names.map((name) => [name, params[name]])));
        })], connections: { default: ${JSON.stringify(db.url)} } });`,
    });
    const { stdout, stderr } = await project.cli([
      'run',
      'd',
      '--json',
      '-p',
      'constructor=given',
      '-p',
      'toString=given',
    ]);
    expect(JSON.parse(stdout).error, stderr).to.equal(undefined);
    const [row] = await db.query(`select result from etl.task where dag_id = 'd'`);
    const expected = NAMES.filter((name) => name !== '__proto__').map((name) => [
      name,
      name === 'constructor' || name === 'toString' ? 'given' : 'd',
    ]);
    expect(row?.['result'] ?? stdout).to.deep.equal(Object.fromEntries(expected));
    const unknown = await project.cli(['run', 'd', '-p', 'nope=1']);
    expect(unknown.code).to.equal(2);
    const proto = await project.cli(['run', 'd', '-p', '__proto__=1']);
    expect(proto.code).to.equal(2);
  });
});
