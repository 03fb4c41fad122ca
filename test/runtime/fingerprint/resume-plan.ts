import { expect } from 'chai';
import type * as planning from '../../../src/runtime/dag/plan.js';
import type { ResumePlan } from '../../../src/runtime/run/resume.js';
import type * as resuming from '../../../src/runtime/run/resume.js';
import { project, type Files } from '../config/config-project.js';

/** A change of a project, and what a resume does after it. */
export interface Change {
  readonly title: string;
  /** The files before the change. A text stands for `etl.config.ts`. */
  readonly files: string | Files;
  /**
   * The change: texts that are replaced in all files, by the text that replaces them; or other files, where `null` removes
   * a file.
   */
  readonly change:
    Readonly<Record<string, string>> | { readonly files: Readonly<Record<string, string | null>> };
  /** The tasks that must run again, with a part of the reason. All other tasks must be reused. */
  readonly reruns: Readonly<Record<string, string | RegExp>>;
  /** The environment variables before and after. */
  readonly variables?: readonly [Readonly<Record<string, string>>, Readonly<Record<string, string>>];
}

/** An installed package. Its `schema` makes an object that is another one in each process. */
export const PACKAGE = {
  'node_modules/p/package.json': '{ "name": "p", "version": "1.2.3", "main": "i.js" }',
  'node_modules/p/i.js':
    'exports.p = () => 1; exports.schema = () => new (class Schema { constructor() { this.cache = Math.random(); } })();',
};

/** Tests that a resume after each change runs exactly the named tasks again, and says why. */
export function describeChanges(what: string, changes: readonly Change[]): void {
  describe(`a resume after a change of ${what}`, () => {
    for (const change of changes) {
      it(`runs again exactly the tasks that depend on it: ${change.title}`, async () => {
        const { toRun } = await planChange(change);
        const reasons = Object.fromEntries(toRun.map(({ taskId, why }) => [taskId, why]));
        const ids = Object.keys(change.reruns).toSorted();
        expect(Object.keys(reasons).toSorted(), JSON.stringify(reasons)).to.deep.equal(ids);
        for (const [id, reason] of Object.entries(change.reruns))
          if (typeof reason === 'string') expect(reasons[id]).to.include(reason);
          else expect(reasons[id]).to.match(reason);
      });
    }
  });
}

/** Returns the text of a config whose Dag has these tasks, each of them without dependencies. */
export function config(head: string, tasks: string): string {
  return `import { dag, defineConfig } from '@oneshot/etl';
${head}
export default defineConfig({ dags: [dag('d', { defaults: { conn: 'db' } }, (d) => {
${tasks}
})] });
`;
}

/** Returns the config with one session task for each expression, which is the result of the task. */
export function results(head: string, tasks: Readonly<Record<string, string>>): string {
  const lines = Object.entries(tasks).map(([id, value]) => `  d.session('${id}', {}, async () => ${value});`);
  return config(head, lines.join('\n'));
}

/**
 * Plans the resume of a run in which all tasks were done before the change. The project after the change is in another
 * directory, as on another machine, because Node.js would not load a changed file of the same path again.
 */
export async function planChange({ files, change, variables = [{}, {}] }: Change): Promise<ResumePlan> {
  const before: Files = typeof files === 'string' ? { 'etl.config.ts': files } : files;
  const recorded = await computeAll(before, variables[0]);
  const today = await computeAll(applyChange(before, change), variables[1]);
  const { planResume } = await importResume();
  const done = new Map(
    recorded.flatMap(({ tasks, fingerprints }) =>
      tasks.map(({ id }, index) => [
        id,
        { fingerprint: fingerprints[index] ?? '', result: null, rows: undefined },
      ]),
    ),
  );
  const plans = today.map(({ tasks, fingerprints }) => planResume(tasks, fingerprints, done));
  return { reused: plans.flatMap(({ reused }) => reused), toRun: plans.flatMap(({ toRun }) => toRun) };
}

function applyChange(files: Files, change: Change['change']): Files {
  if ('files' in change && typeof change.files === 'object') {
    const entries = Object.entries({ ...files, ...change.files });
    return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== null));
  }
  const replaced = new Set<string>();
  const changed = Object.entries(files).map(([name, content]) => {
    let text = String(content);
    for (const [old, other] of Object.entries(change as Readonly<Record<string, string>>)) {
      if (text.includes(old)) replaced.add(old);
      text = text.replaceAll(old, () => other);
    }
    return [name, text] as const;
  });
  const missing = Object.keys(change).filter((old) => !replaced.has(old));
  if (missing.length > 0) throw new Error(`the change replaces nothing: ${missing.join(', ')}`);
  return Object.fromEntries(changed);
}

/** The tasks of a Dag and their fingerprints. */
interface Computed {
  readonly tasks: readonly planning.PlannedTask[];
  readonly fingerprints: readonly string[];
}

async function computeAll(
  files: Files,
  variables: Readonly<Record<string, string>>,
): Promise<readonly Computed[]> {
  using fixture = project(files);
  for (const [name, value] of Object.entries(variables)) process.env[name] = value;
  try {
    const { config: loaded } = await fixture.load({ isCached: false, variables: { ...process.env } });
    const { planTasks } = await importPlan();
    const { computeFingerprints } = await importResume();
    const computed: Computed[] = [];
    for (const each of loaded.dags) {
      const tasks = planTasks(each, { conn: 'db' });
      computed.push({ tasks, fingerprints: await computeFingerprints(tasks) });
    }
    return computed;
  } finally {
    for (const name of Object.keys(variables)) Reflect.deleteProperty(process.env, name);
  }
}

/** Imports the instances of the modules that the loader of configs uses. */
async function importResume(): Promise<typeof resuming> {
  return await import(new URL('../../../src/runtime/run/resume.ts', import.meta.url).href);
}

async function importPlan(): Promise<typeof planning> {
  return await import(new URL('../../../src/runtime/dag/plan.ts', import.meta.url).href);
}
