// Defines, plans and runs one Dag of tasks that do nothing. Prints the times and the memory as JSON.
import { dag, type Dag } from '../../src/runtime/dag/dag.js';
import { executeDag } from '../../src/runtime/run/executor.js';
import { planTasks } from '../../src/runtime/dag/plan.js';
import type { Task } from '../../src/runtime/tasks/task.js';

const CONCURRENCY = 8;
/** The number of tasks of a layer. Each task needs three tasks of the previous layer. */
const LAYER = 100;

type Shape = 'chain' | 'fan-out' | 'layered';

const shape = (process.argv[2] ?? 'chain') as Shape;
const count = Number(process.argv[3] ?? 1000);

void main();

async function main(): Promise<void> {
  const startedAt = performance.now();
  const graph = define(shape, count);
  const definedAt = performance.now();
  const tasks = planTasks(graph, {});
  const plannedAt = performance.now();
  const outcome = { state: 'success' } as const;
  const outcomes = await executeDag(
    { runId: 'r', dag: graph, tasks, home: undefined, interval: undefined, params: {}, fullRefresh: [] },
    {
      runTask: async () => outcome,
      passOver: () => outcome,
      concurrency: CONCURRENCY,
      getPoolSize: () => CONCURRENCY,
      failFast: false,
      signal: new AbortController().signal,
    },
  );
  const walkedAt = performance.now();
  if (outcomes.length !== count || outcomes.some((each) => each.state !== 'success'))
    throw new Error('not walked');
  process.stdout.write(
    JSON.stringify({
      defineMs: definedAt - startedAt,
      planMs: plannedAt - definedAt,
      walkMs: walkedAt - plannedAt,
      peakMb: process.resourceUsage().maxRSS / 1024,
    }),
  );
}

function define(of: Shape, n: number): Dag {
  const nothing = async (): Promise<null> => null;
  return dag('graph', {}, (d) => {
    let [before, current]: [Task[], Task[]] = [[], []];
    for (let i = 0; i < n; i++) {
      if (of === 'layered' && i % LAYER === 0) [before, current] = [current, []];
      current.push(
        d.task(`t${i}`, { needs: chooseParents(of, i, of === 'layered' ? before : current) }, nothing),
      );
      if (of !== 'layered' && current.length > 1) current.splice(of === 'chain' ? 0 : 1, 1);
    }
  });
}

function chooseParents(of: Shape, i: number, made: readonly Task[]): readonly Task[] {
  const [first] = made;
  if (first === undefined) return [];
  if (of !== 'layered') return [first];
  const at = (k: number): Task => made[(i + k * 31) % LAYER] ?? first;
  return [at(0), at(1), at(2)];
}
