import { expect } from 'chai';
import fc from 'fast-check';
import { dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';

const TASKS = ['a', 'b', 'c', 'd'] as const;
type Id = (typeof TASKS)[number];
/** The upstream task of each task: a -> b -> c, and d alone. */
const UPSTREAM: Readonly<Record<Id, Id | undefined>> = { a: undefined, b: 'a', c: 'b', d: undefined };

/** What may happen to a task in one process of a run. */
type Fate = 'works' | 'throws' | 'loses its backend' | 'is fenced' | 'swallows an error';

interface Step {
  readonly kind: 'run' | 'resume';
  readonly fates: Readonly<Record<Id, Fate>>;
  /** A task whose code is changed before this step. */
  readonly changed: Id | undefined;
}

const fate = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Fate>('works') },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Fate>('throws', 'loses its backend', 'is fenced', 'swallows an error'),
  },
);
const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom('run', 'resume', 'resume'),
    fates: fc.record({ a: fate, b: fate, c: fate, d: fate }),
    changed: fc.option(fc.constantFrom(...TASKS), { nil: undefined, freq: 5 }),
  }),
  { minLength: 1, maxLength: 8 },
);

/**
 * The expected ledger: for each run, which version of each task is done. A version includes the versions of the
 * upstream tasks.
 */
class Model {
  readonly versions: Record<Id, number> = { a: 1, b: 1, c: 1, d: 1 };
  readonly effects: string[] = [];
  #runs = 0;
  #done = new Map<Id, string>();

  /** Returns the expected identity of a task's code. A changed upstream task changes it, too. */
  fingerprint(id: Id): string {
    const upstream = UPSTREAM[id];
    return `${id}${this.versions[id]}${upstream === undefined ? '' : `<${this.fingerprint(upstream)}`}`;
  }

  /** Applies a step. Returns false if there is nothing to resume. */
  apply({ kind, fates, changed }: Step): boolean {
    if (changed !== undefined) this.versions[changed]++;
    if (kind === 'resume' && this.#runs === 0) return false;
    if (kind === 'run') {
      this.#runs++;
      this.#done = new Map();
    }
    for (const id of TASKS) {
      const fingerprint = this.fingerprint(id);
      if (this.#done.get(id) === fingerprint) continue;
      const upstream = UPSTREAM[id];
      const isReady = upstream === undefined || this.#done.get(upstream) === this.fingerprint(upstream);
      if (!isReady || fates[id] !== 'works') continue;
      this.#done.set(id, fingerprint);
      this.effects.push(`${this.#runs} ${id} ${this.versions[id]}`);
    }
    return true;
  }

  get runs(): number {
    return this.#runs;
  }
}

describe('any history of runs, resumes, failures, lost backends and fences', () => {
  let db: TestDatabase;
  before(async () => {
    db = await createDatabase({ mayLeak: true });
    await db.query('create table effect (run int, task text, version int)');
  });
  after(() => db.drop());

  /** Builds the current Dag. The version of a task is part of its code. */
  function graph(model: Model, fates: Step['fates']) {
    return dag('d', { defaults: { conn: 'db' } }, (d) => {
      const handles = new Map<Id, ReturnType<typeof d.session>>();
      for (const id of TASKS) {
        const upstream = UPSTREAM[id];
        const parent = upstream === undefined ? undefined : handles.get(upstream);
        const options = { needs: parent === undefined ? [] : [parent], with: model.versions[id] };
        handles.set(
          id,
          d.session(id, options, async ({ session, with: version }) => {
            await session('effect').insert({ run: model.runs, task: id, version });
            const { rows } = await session.raw<{ rows: { pid: number }[] }>('select pg_backend_pid() as pid');
            await happen(fates[id], async () => void (await session.raw('select 1/0')), rows[0]?.pid ?? 0);
          }),
        );
      }
    });
  }

  async function happen(what: Fate, fail: () => Promise<void>, pid: number): Promise<void> {
    if (what === 'throws') throw new Error('as planned');
    if (what === 'swallows an error') await fail().catch(() => undefined);
    if (what === 'loses its backend') await db.query('select pg_terminate_backend($1)', [pid]);
    if (what === 'is fenced')
      await db.query(`update etl.lock set epoch = epoch + 1, holder = gen_random_uuid()`);
  }

  it('commits each version of each task exactly once in each run (P2)', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (history) => {
        await db.query('truncate effect; drop schema if exists etl cascade');
        const model = new Model();
        for (const step of onlyOneFence(history)) {
          if (!model.apply(step)) continue;
          await runOn({ db: db.url }, graph(model, step.fates), {
            concurrency: 1,
            ...(step.kind === 'resume'
              ? { resume: { kind: 'resume', runId: undefined, interval: undefined, strict: false } }
              : { runId: `run-${String(model.runs).padStart(4, '0')}` }),
          });
        }
        const rows = await db.query<{ effect: string }>(
          `select run || ' ' || task || ' ' || version as effect from effect`,
        );
        expect(rows.map(({ effect }) => effect).toSorted()).to.deep.equal(model.effects.toSorted());
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });
});

/** Replaces all fences of a step by one fence of its last task: after a fence, no later task of the run commits. */
function onlyOneFence(history: readonly Step[]): readonly Step[] {
  return history.map((step) => {
    const first = TASKS.find((id) => step.fates[id] === 'is fenced');
    return first === undefined
      ? step
      : { ...step, fates: { ...step.fates, a: 'works', b: 'works', d: 'works', c: 'is fenced' } };
  });
}
