import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';
import { hold } from './attempt-project.js';

describe('a task that waits for a lock of another application', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase();
    await db.query('create table t (id int primary key, v text); insert into t values (1, null)');
  });
  after(() => db.drop());

  const graph = (options: object) =>
    dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.sql('w', { ...options, sql: `update t set v = 'task' where id = 1` });
    });
  const HOLDER =
    /"w" waits for a lock: pid \d+ \(user \w+, application someone\) has it, in its transaction since \d\d:\d\d:\d\d UTC \([\d.]+s\), idle in transaction, last statement UPDATE$/;

  it('names the holder in a notice while it waits, and goes on when the holder has ended', async () => {
    await using holder = await hold(db, `set application_name = 'someone'`);
    await holder.query('begin');
    await holder.query(`update t set v = 'SECRET' where id = 1`);
    const run = await runOn({ db: db.url }, graph({ isolation: 'read committed', timeout: '20s' }), {
      onEvent: (event) => {
        if (event.type === 'notice' && HOLDER.test(event.text)) void holder.query('rollback');
      },
    });
    const notices = run.events.flatMap((event) => (event.type === 'notice' ? [event.text] : []));
    expect(run.outcome('w'), notices.join('\n')).to.equal('success');
    expect(notices.filter((text) => HOLDER.test(text))).to.have.lengthOf(1);
    expect(JSON.stringify(notices)).to.not.include('SECRET');
  });

  it('names the holder in the error if it runs out of time', async () => {
    await using holder = await hold(db, `set application_name = 'someone'`);
    await holder.query('begin');
    await holder.query(`update t set v = 'SECRET' where id = 1`);
    const run = await runOn({ db: db.url }, graph({ timeout: '8s' }));
    const error = run.tasks[0]?.error;
    expect(run.outcome('w')).to.equal('failed ETL-3301');
    expect(error?.why).to.match(/the statement waited for a lock: pid \d+ \(user \w+, application someone\)/);
    expect(error?.fix).to.include('end the transaction that holds the lock');
    expect(error?.where).to.include('update t set v = ');
    await holder.query('rollback');
  });
});
