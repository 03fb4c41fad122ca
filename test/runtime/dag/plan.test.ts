import { expect } from 'chai';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createUnknownDagError, createUnknownTaskError } from '../../../src/runtime/dag/dag-errors.js';
import { findConnections, planDag } from '../../../src/runtime/dag/plan.js';
import type { TaskDefaults } from '../../../src/runtime/tasks/task.js';

describe('the connections of a Dag', () => {
  const mixed = dag('mixed', {}, (d) => {
    d.task('mail', {}, async () => null);
    d.transfer('copy', { conn: 'b', from: 'a', table: 'orders', into: 'orders', mode: 'append' });
    d.session('stats', { conn: 'c', reads: ['a', 'b', 'd'] }, async () => null);
    d.sql('sum', { conn: 'b', sql: 'select 1' });
  });
  const plain = dag('plain', {}, (d) => void d.task('mail', {}, async () => null));

  const rows: readonly {
    readonly title: string;
    readonly graph: typeof mixed;
    readonly defaults: TaskDefaults;
    readonly home: string | undefined;
    readonly recording: readonly string[];
    readonly used: readonly string[];
  }[] = [
    {
      title: 'begin with the first connection that a task writes through, and name each connection once',
      graph: mixed,
      defaults: {},
      home: 'b',
      recording: ['b', 'c'],
      used: ['b', 'a', 'c', 'd'],
    },
    {
      title: 'begin with the default connection, which records the runs although no task uses it',
      graph: mixed,
      defaults: { conn: 'home' },
      home: 'home',
      recording: ['home', 'b', 'c'],
      used: ['home', 'b', 'a', 'c', 'd'],
    },
    {
      title: 'are only the default connection if no task has a connection',
      graph: plain,
      defaults: { conn: 'home' },
      home: 'home',
      recording: ['home'],
      used: ['home'],
    },
    {
      title: 'are none if no task has a connection and there is no default',
      graph: plain,
      defaults: {},
      home: undefined,
      recording: [],
      used: [],
    },
  ];
  for (const { title, graph, defaults, home, recording, used } of rows) {
    it(title, () => {
      const planned = planDag(graph, defaults);
      expect(planned.home).to.equal(home);
      expect(findConnections(planned)).to.deep.equal({ recording, used });
    });
  }
});

describe('the error for an ID that the config does not have', () => {
  it('names the nearest Dag and lists all Dags', () => {
    const { code, message, fix, data } = createUnknownDagError(
      'monthyl',
      ['daily', 'monthly'],
      'nothing was started',
    );
    expect({ code, message, fix, data }).to.deep.equal({
      code: 'ETL-2002',
      message: 'there is no Dag "monthyl"; did you mean "monthly"?',
      fix: 'the Dags are daily, monthly',
      data: 'nothing was started',
    });
  });

  it('says how to add a Dag to a config without Dags', () => {
    const { message, fix } = createUnknownDagError('monthly', []);
    expect(message).to.equal('there is no Dag "monthly"');
    expect(fix).to.equal('the config has no Dags: add them to `dags`');
  });

  it('names the nearest task and the command that lists the tasks', () => {
    const error = createUnknownTaskError(
      { dagId: 'd', taskId: 'lod' },
      ['load', 'sum'],
      'nothing was changed',
    );
    const { code, message, fix, data } = error;
    expect({ code, message, fix, data }).to.deep.equal({
      code: 'ETL-2004',
      message: '"d" has no task "lod"; did you mean "load"?',
      fix: 'run `etl list` to see the tasks of each Dag',
      data: 'nothing was changed',
    });
  });
});
