import type { Fault } from './fault.js';

/** The number of examples of problems that are printed for each fault. */
const MAX_PROBLEMS = 8;

/** The counts of one fault. `lost`, `doubled` and `partial` count tasks. */
export class Tally {
  injections = 0;
  runs = 0;
  tasks = 0;
  /** Task bodies that began, counted by a sequence, which no rollback resets. */
  executions = 0;
  /** Tasks that are recorded or reported as done, but have no effect. */
  lost = 0;
  /** Tasks with more than one effect, or committed by a run after the next run had taken over. */
  doubled = 0;
  /** Tasks with a part of the effect, or with an effect that differs from the record. */
  partial = 0;
  /** Broken promises that are not about effects: exit codes, sessions, times. */
  broken = 0;
  seconds = 0;
  /** Other measurements, for the table. */
  readonly notes: string[] = [];
  readonly problems: string[] = [];
  readonly #times = new Map<string, number[]>();

  /** Counts a broken promise. */
  addProblem(text: string): void {
    this.broken++;
    this.addExample(text);
  }

  /** Adds the text of a problem that another count contains. */
  addExample(text: string): void {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push(text);
  }

  /** Adds a measured time, in milliseconds, under the name `what`. */
  addTime(what: string, ms: number): void {
    this.#times.set(what, [...this.listTimes(what), ms]);
  }

  listTimes(what: string): readonly number[] {
    return this.#times.get(what) ?? [];
  }

  add(other: Tally): void {
    for (const figure of FIGURES) this[figure] += other[figure];
    this.notes.push(...other.notes);
    for (const addProblem of other.problems) this.addExample(addProblem);
    for (const [what, times] of other.#times) for (const ms of times) this.addTime(what, ms);
  }

  /** Tasks whose effect did not happen exactly once. */
  get wrong(): number {
    return this.lost + this.doubled + this.partial;
  }
}

/**
 * Returns the smallest value that at least this part of the values does not exceed. Returns 0 if there are no values.
 */
export function computeQuantile(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * part) - 1)] ?? 0;
}

const FIGURES = [
  'injections',
  'runs',
  'tasks',
  'executions',
  'lost',
  'doubled',
  'partial',
  'broken',
  'seconds',
] as const;

/** Returns the verdict on a fault. For a control, guilty is good. */
export function judgeFault(fault: Fault, tally: Tally): { readonly text: string; readonly isGood: boolean } {
  if (fault.control)
    return tally.wrong > 0
      ? { text: 'guilty, as it must be', isGood: true }
      : { text: 'NOT FOUND GUILTY', isGood: false };
  if (tally.wrong + tally.broken > 0)
    return { text: tally.broken > 0 ? `BROKEN (${tally.broken})` : 'WRONG', isGood: false };
  return { text: 'once', isGood: true };
}

/** Formats the table in Markdown. */
export function formatTable(rows: readonly { readonly fault: Fault; readonly tally: Tally }[]): string {
  const head = [
    [
      'fault',
      'injections',
      'runs',
      'tasks',
      'executions',
      'lost',
      'doubled',
      'partial',
      'seconds',
      'verdict',
    ],
    ['---', '--:', '--:', '--:', '--:', '--:', '--:', '--:', '--:', '---'],
  ];
  const body = rows.map(({ fault, tally }) => [
    `${fault.id} ${fault.title}${tally.notes.length > 0 ? `; ${[...new Set(tally.notes)].join('; ')}` : ''}`,
    ...[tally.injections, tally.runs, tally.tasks, tally.executions].map(String),
    ...[tally.lost, tally.doubled, tally.partial].map(String),
    tally.seconds.toFixed(0),
    judgeFault(fault, tally).text,
  ]);
  return [...head, ...body].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
