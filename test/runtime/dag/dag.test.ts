import { expect } from 'chai';
import { z } from 'zod';
import { EtlError } from '../../../src/errors.js';
import { dag, isDag, type DagBuilder, type DagOptions } from '../../../src/runtime/dag/dag.js';
import { planTasks } from '../../../src/runtime/dag/plan.js';

describe('dag()', () => {
  it('keeps the tasks in the order of definition, with their upstream tasks', () => {
    const graph = dag('d', {}, (d) => {
      const a = d.task('a', {}, async () => 1);
      const b = d.task('b', { needs: { first: a } }, async () => 2);
      d.task('c', { needs: [a, b] }, async () => 3);
    });
    expect(graph.tasks.map(({ id }) => id)).to.deep.equal(['a', 'b', 'c']);
    expect(graph.tasks.map(({ upstream }) => [...upstream.keys()])).to.deep.equal([
      [],
      ['first'],
      ['a', 'b'],
    ]);
    expect(isDag(graph)).to.equal(true);
    expect(isDag({ ...graph })).to.equal(false);
  });

  const invalid: readonly { title: string; define: () => unknown; what: RegExp; code: string }[] = [
    {
      title: 'an ID with a space',
      define: () => dag('my dag', {}, () => undefined),
      what: /"my dag" \(string\) can't be the ID of a Dag/,
      code: 'ETL-2305',
    },
    {
      title: 'an ID that is a path',
      define: () => dag('../etc', {}, () => undefined),
      what: /can't be the ID/,
      code: 'ETL-2305',
    },
    {
      title: 'an ID of 101 characters',
      define: () => dag('x'.repeat(101), {}, () => undefined),
      what: /can't be the ID/,
      code: 'ETL-2305',
    },
    {
      title: 'an empty ID of a task',
      define: () => dag('d', {}, (d) => void d.task('', {}, async () => null)),
      what: /"" \(string\) can't be the ID of a task/,
      code: 'ETL-2305',
    },
    {
      title: 'an ID with a Cyrillic letter',
      define: () => dag('d', {}, (d) => void d.task('\u0430', {}, async () => null)),
      what: /can't be the ID/,
      code: 'ETL-2305',
    },
    {
      title: 'an option that does not exist',
      define: () => dag('d', { scedule: '@daily' } as DagOptions, () => undefined),
      what: /no option `scedule`; did you mean "schedule"/,
      code: 'ETL-2303',
    },
    {
      title: 'a default that does not exist',
      define: () => dag('d', { defaults: { retrys: 1 } } as DagOptions, () => undefined),
      what: /no option `defaults\.retrys`; did you mean "retries"/,
      code: 'ETL-2303',
    },
    {
      title: 'a wrong schedule',
      define: () => dag('d', { schedule: '60 * * * *' }, () => undefined),
      what: /schedule/,
      code: 'ETL-2304',
    },
    {
      title: 'a time zone without a schedule',
      define: () => dag('d', { timezone: 'UTC' }, () => undefined),
      what: /belong to a `schedule`/,
      code: 'ETL-2303',
    },
    {
      title: 'retries below zero',
      define: () => dag('d', {}, (d) => void d.task('a', { retries: -1 }, async () => null)),
      what: /expected `retries` to be a whole number from 0, got -1/,
      code: 'ETL-2303',
    },
    {
      title: 'a timeout that is not a duration',
      define: () => dag('d', {}, (d) => void d.task('a', { timeout: 'ten' }, async () => null)),
      what: /expected `timeout` to be a duration/,
      code: 'ETL-2303',
    },
    {
      title: 'an isolation that does not exist',
      define: () =>
        dag(
          'd',
          {},
          (d) => void d.session('a', { isolation: 'snapshot' as 'serializable' }, async () => null),
        ),
      what: /"read committed" or "repeatable read" or "serializable"/,
      code: 'ETL-2303',
    },
    {
      title: 'a connection for a task without one',
      define: () => dag('d', {}, (d) => void d.task('a', { conn: 'x' } as object, async () => null)),
      what: /no option `conn`/,
      code: 'ETL-2303',
    },
    {
      title: 'a sql task without SQL',
      define: () => dag('d', {}, (d) => void d.sql('a', {})),
      what: /either `sql` or `file`/,
      code: 'ETL-2303',
    },
    {
      title: 'a load without a table',
      define: () => dag('d', {}, (d) => void d.load('a', { from: 'x.csv', mode: 'append' } as never)),
      what: /needs `into`/,
      code: 'ETL-2303',
    },
    {
      title: 'a session task without a function',
      define: () => dag('d', {}, (d) => void d.session('a', {}, undefined as never)),
      what: /has no function/,
      code: 'ETL-2303',
    },
    {
      title: 'params that are not a schema',
      define: () => dag('d', { params: {} as never }, () => undefined),
      what: /Standard Schema/,
      code: 'ETL-2303',
    },
  ];
  for (const { title, define, what, code } of invalid) {
    it(`refuses ${title} and names the location`, () => {
      expect(define)
        .to.throw(EtlError, what)
        .that.satisfies((error: EtlError) => error.code === code && error.exitCode === 2)
        .and.has.property('where')
        .that.matches(/dag\.test\.ts:\d+:\d+/);
    });
  }

  it('refuses a task of another Dag', () => {
    let foreign: unknown;
    dag('one', {}, (d) => {
      foreign = d.task('a', {}, async () => null);
    });
    expect(() => dag('two', {}, (d) => void d.task('b', { needs: { foreign } as never }, async () => null)))
      .to.throw(EtlError, 'task "b" needs "foreign", which is not a task of the same Dag')
      .with.property('where')
      .that.matches(/dag\.test\.ts:\d+:\d+/);
  });

  it('refuses a task that is added after the Dag was defined', () => {
    let builder: DagBuilder<unknown, unknown> | undefined;
    const one = dag('one', {}, (d) => {
      builder = d as never;
      d.task('a', {}, async () => null);
    });
    expect(() => builder?.task('late', {}, async () => null))
      .to.throw(EtlError, 'the task "late" was added after its Dag was defined')
      .with.property('where')
      .that.matches(/dag\.test\.ts:\d+:\d+/);
    expect(one.tasks.map(({ id }) => id)).to.deep.equal(['a']);
  });

  it('refuses a task that is added after the definition threw', () => {
    let builder: DagBuilder<unknown, unknown> | undefined;
    const broken = () =>
      dag('one', {}, (d) => {
        builder = d as never;
        throw new Error('no');
      });
    expect(broken).to.throw('no');
    expect(() => builder?.task('late', {}, async () => null)).to.throw(EtlError, 'was added after its Dag');
  });

  it('plans a task that needs 100,000 others, some of them twice', () => {
    const wide = dag('wide', {}, (d) => {
      const all = Array.from({ length: 100_000 }, (_, i) => d.task(`t${i}`, {}, async () => null));
      d.task('last', { needs: [...all, ...all.slice(0, 10)] }, async () => null);
    });
    expect(planTasks(wide, {}).at(-1)?.upstream).to.have.length(100_000);
  });

  for (const size of [10_000]) {
    it(`defines and plans a chain of ${size} tasks without recursion`, () => {
      const graph = dag('chain', {}, (d) => {
        let last = d.task('t0', {}, async () => null);
        for (let i = 1; i < size; i++)
          last = d.task(`t${i}`, { needs: [last] }, async () => null) as typeof last;
      });
      const tasks = planTasks(graph, {});
      expect(tasks.at(-1)?.upstream).to.deep.equal([size - 2]);
    });

    it(`defines and plans a fan-out to ${size} tasks`, () => {
      const graph = dag('fan', {}, (d) => {
        const root = d.task('root', {}, async () => null);
        for (let i = 0; i < size; i++) d.task(`t${i}`, { needs: [root] }, async () => null);
      });
      expect(planTasks(graph, {}).filter(({ upstream }) => upstream[0] === 0)).to.have.lengthOf(size);
    });
  }
});

/** The compiler checks this code: `npm run lint` fails if one of the expected errors is missing. */
export function types(): void {
  const params = z.object({ region: z.enum(['eu', 'us']), min: z.coerce.number() });
  dag('typed', { params, schedule: '@daily', defaults: { conn: 'db' } }, (d) => {
    const load = d.load('load', { from: 'a.csv', into: 'a', mode: 'replace' });
    const stats = d.session(
      'stats',
      { needs: { load } },
      async ({ params: { region, min }, upstream, interval }) => {
        const text: 'eu' | 'us' = region;
        const number: number = min + upstream.load.rows + interval.start.getTime();
        return { text, number };
      },
    );
    const sql = d.sql('sql', {
      needs: { stats },
      sql: ({ upstream }) => ({ text: 'select $1', values: [upstream.stats.number] }),
    });
    d.task(
      'end',
      { needs: { sql }, with: { days: 3 } },
      async ({ upstream, with: { days } }) => upstream.sql.rows + days,
    );

    // @ts-expect-error an upstream task that is not needed
    d.session('a', { needs: { stats } }, async ({ upstream }) => upstream.other);
    // @ts-expect-error a field that the result does not have
    d.session('b', { needs: { stats } }, async ({ upstream }) => upstream.stats.nothing);
    // @ts-expect-error a result of a task that was given for the order alone
    d.session('c', { needs: [stats] }, async ({ upstream }) => upstream.stats);
    // @ts-expect-error a param that the schema does not have
    d.session('e', {}, async ({ params: { location } }) => location as string);
    // @ts-expect-error a Map is not JSON
    d.session('f', {}, async () => new Map<string, number>());
    // @ts-expect-error a Date is not JSON
    d.task('g', {}, async () => ({ at: new Date() }));
    // @ts-expect-error a task has no commit
    d.session('h', {}, async ({ session }) => void (await session.commit()));
    // @ts-expect-error a task has no rollback
    d.session('i', {}, async ({ session }) => void (await session.rollback()));
    // @ts-expect-error a task without a connection has no session
    d.task('j', {}, async ({ session }) => void session);
    d.session('reading', { reads: ['crm'] }, async ({ sources }) => void (await sources.crm('t')));
    // @ts-expect-error a connection that it does not say it reads
    d.session('n', { reads: ['crm'] }, async ({ sources }) => void (await sources.shop('t')));
    // @ts-expect-error a mode that does not exist
    d.load('k', { from: 'a.csv', into: 'a', mode: 'upsert' });
    // @ts-expect-error an option that does not exist
    d.session('l', { retry: 3 }, async () => null);
    // @ts-expect-error something that is no task
    d.session('m', { needs: { text: 'stats' } }, async () => null);
  });
  dag('unscheduled', {}, (d) => {
    // @ts-expect-error no schedule, no interval
    d.task('a', {}, async ({ interval }) => interval.start.getTime());
    // @ts-expect-error no schema, no params
    d.task('b', {}, async ({ params: { region } }) => region as string);
  });
}
