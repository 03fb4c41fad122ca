import { expect } from 'chai';
import fc from 'fast-check';
import { dag } from '../../../src/runtime/dag/dag.js';
import { executeDag, type EndedTask, type ExecuteOptions } from '../../../src/runtime/run/executor.js';
import { planTasks, type PlannedTask, type RunPlan } from '../../../src/runtime/dag/plan.js';
import type { Task } from '../../../src/runtime/tasks/task.js';

type Outcome = EndedTask & { readonly order: number };

/** Plans a Dag from the upstream indexes of each task. */
function planOf(
  upstream: readonly (readonly number[])[],
  conn: (index: number) => string = () => 'db',
): RunPlan {
  const graph = dag('d', {}, (d) => {
    const tasks: Task[] = [];
    for (const [i, needs] of upstream.entries()) {
      tasks.push(
        d.sql(`t${i}`, { conn: conn(i), needs: needs.map((each) => tasks[each]) as Task[], sql: 'select 1' }),
      );
    }
  });
  return {
    runId: 'r',
    dag: graph,
    tasks: planTasks(graph, {}),
    home: 'db',
    interval: undefined,
    params: {},
    fullRefresh: [],
  };
}

/** Random graphs. Each task may need any earlier tasks. */
const graphs = fc
  .array(
    fc.tuple(
      fc.array(fc.nat(), { maxLength: 4 }),
      fc.constantFrom('success', 'failed', 'skipped'),
      fc.boolean(),
    ),
    { minLength: 1, maxLength: 30 },
  )
  .map((tasks) => ({
    upstream: tasks.map(([needs], i) => (i === 0 ? [] : [...new Set(needs.map((each) => each % i))])),
    ends: tasks.map(([, end]) => end as EndedTask['state']),
    conns: tasks.map(([, , first]) => (first ? 'a' : 'b')),
  }));

async function walk(
  plan: RunPlan,
  ends: readonly EndedTask['state'][],
  options: Partial<ExecuteOptions<Outcome>> = {},
): Promise<{ outcomes: readonly Outcome[]; started: string[]; most: Record<string, number> }> {
  let order = 0;
  const started: string[] = [];
  const running: Record<string, number> = {};
  const most: Record<string, number> = {};
  const outcomes = await executeDag<Outcome>(plan, {
    concurrency: 3,
    getPoolSize: () => 2,
    failFast: false,
    signal: new AbortController().signal,
    passOver: (_task, because) => ({
      state: because === 'stopped' || because.outcome.state === 'skipped' ? 'skipped' : 'upstream_failed',
      order: order++,
    }),
    runTask: async (task: PlannedTask) => {
      started.push(task.id);
      for (const limit of ['all', task.conn ?? '']) {
        running[limit] = (running[limit] ?? 0) + 1;
        most[limit] = Math.max(most[limit] ?? 0, running[limit]);
      }
      await new Promise((resolve) => setImmediate(resolve));
      for (const limit of ['all', task.conn ?? '']) running[limit] = (running[limit] ?? 0) - 1;
      return { state: ends[task.index] ?? 'success', order: order++ };
    },
    ...options,
  });
  return { outcomes, started, most };
}

/** Computes the expected state of each task, by the definition. */
function expected(
  upstream: readonly (readonly number[])[],
  ends: readonly EndedTask['state'][],
): EndedTask['state'][] {
  const states: EndedTask['state'][] = [];
  for (const [i, needs] of upstream.entries()) {
    const bad = needs.map((each) => states[each]).filter((state) => state !== 'success');
    if (bad.length === 0) states.push(ends[i] ?? 'success');
    else states.push(bad.every((state) => state === 'skipped') ? 'skipped' : 'upstream_failed');
  }
  return states;
}

describe('the walk over a Dag', () => {
  it('runs each task once, after its upstream tasks, within the limits, for any graph (P1)', async () => {
    await fc.assert(
      fc.asyncProperty(graphs, async ({ upstream, ends, conns }) => {
        const plan = planOf(upstream, (i) => conns[i] ?? 'a');
        const { outcomes, started, most } = await walk(plan, ends);
        const states = expected(upstream, ends);
        // The order of two upstream tasks may differ. Whether the task ran may not differ.
        expect(outcomes.map(({ state }) => state === 'success' || state === 'failed')).to.deep.equal(
          states.map((state) => state === 'success' || state === 'failed'),
        );
        expect(new Set(started).size).to.equal(started.length);
        expect(most['all'] ?? 0).to.be.at.most(3);
        expect(Math.max(most['a'] ?? 0, most['b'] ?? 0)).to.be.at.most(2);
        for (const [i, needs] of upstream.entries()) {
          for (const each of needs) expect(outcomes[each]?.order).to.be.below(outcomes[i]?.order ?? -1);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('runs the tasks that do not need a failed task', async () => {
    const { outcomes } = await walk(planOf([[], [0], [], [2]]), ['failed']);
    expect(outcomes.map(({ state }) => state)).to.deep.equal([
      'failed',
      'upstream_failed',
      'success',
      'success',
    ]);
  });

  it('starts no further task after a failure with failFast', async () => {
    const { outcomes, started } = await walk(planOf([[], [], [], []]), ['failed'], {
      failFast: true,
      concurrency: 1,
    });
    expect(started).to.deep.equal(['t0']);
    expect(outcomes.map(({ state }) => state)).to.deep.equal(['failed', 'skipped', 'skipped', 'skipped']);
  });

  it('starts no task after its signal has aborted', async () => {
    const { started, outcomes } = await walk(planOf([[], [0]]), [], { signal: AbortSignal.abort() });
    expect(started).to.deep.equal([]);
    expect(outcomes).to.have.lengthOf(2);
  });

  it('starts tasks of other connections while one connection has no free slot', async () => {
    const plan = planOf([[], [], [], []], (i) => (i < 3 ? 'slow' : 'fast'));
    const { started } = await walk(plan, [], {
      concurrency: 2,
      getPoolSize: (id) => (id === 'slow' ? 1 : 2),
    });
    expect(started.slice(0, 2)).to.deep.equal(['t0', 't3']);
  });

  it('walks a chain and a fan-out of 10,000 tasks', async () => {
    const size = 10_000;
    const chain = planOf(Array.from({ length: size }, (_, i) => (i === 0 ? [] : [i - 1])));
    const fan = planOf(Array.from({ length: size }, (_, i) => (i === 0 ? [] : [0])));
    expect((await walk(chain, ['failed'])).outcomes.at(-1)?.state).to.equal('upstream_failed');
    expect((await walk(fan, [])).started).to.have.lengthOf(size);
  });

  it('fails instead of waiting for ever if a callback throws', async () => {
    const plan = planOf([[], [0]]);
    const bug = new TypeError('a bug');
    const throwing: Partial<ExecuteOptions<Outcome>>[] = [
      { runTask: () => Promise.reject(bug) },
      {
        passOver: () => {
          throw bug;
        },
      },
    ];
    for (const options of throwing) {
      const error: unknown = await walk(plan, ['failed', 'success'], options).catch(
        (reason: unknown) => reason,
      );
      expect(error).to.equal(bug);
    }
  });
});
