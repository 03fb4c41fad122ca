// A simple runner that is wrong on purpose. MODE says how:
// - "after" records a task in a statement of its own after the task's COMMIT
// - "before" records a task in a statement of its own before the task's transaction
// - "asynchronous" records a task in the task's transaction, but its COMMIT does not wait for the disk
// - "together" records a task in the task's transaction, which is right: another part of the control is wrong
import { Client } from 'pg';

const { DATABASE_URL, RUN_ID, MODE, WORK_TASKS, WORK_ROWS, WORK_BLOCK } = process.env;
const tasks = Array.from({ length: Number(WORK_TASKS) }, (_, i) => `t${i}`);

async function worker() {
  const client = new Client(DATABASE_URL);
  await client.connect();
  if (MODE === 'asynchronous') await client.query('set synchronous_commit = off');
  process.stdout.write('"event":"task_started"\n');
  for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) await run(client, task);
  await client.end();
}

async function run(client, task) {
  const key = [RUN_ID, task];
  const done = await client.query('select from mini where run_id = $1 and task_id = $2', key);
  if (done.rowCount > 0) return;
  const record = () =>
    client.query(`insert into mini (run_id, task_id, state) values ($1, $2, 'success')`, key);
  if (MODE === 'before') await record();
  await client.query('begin');
  await client.query(`select nextval('executions')`);
  await client.query('insert into effect select $1, $2, generate_series(1, $3::int)', [...key, WORK_ROWS]);
  await client.query('update counter set n = n + 1 where run_id = $1 and task_id = $2', key);
  const begin = process.cpuUsage();
  for (let used = process.cpuUsage(begin); used.user + used.system < Number(WORK_BLOCK ?? 0) * 1000;)
    used = process.cpuUsage(begin);
  if (MODE === 'asynchronous' || MODE === 'together') await record();
  await client.query('commit');
  if (MODE === 'after') await record();
}

await Promise.all([worker(), worker(), worker()]);
