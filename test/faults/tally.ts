import type { Fault } from './fault.js';

/** How many examples of what went wrong are kept for each fault. */
const MAX_PROBLEMS = 8;

/** What became of the tasks of one fault. `lost`, `doubled` and `partial` count tasks. */
export class Tally {
  injections = 0;
  runs = 0;
  tasks = 0;
  /** Bodies that began, by a sequence that no rollback takes back. */
  executions = 0;
  /** Recorded or reported as done, and no effect. */
  lost = 0;
  /** More than one effect, or work of a run that another had replaced. */
  doubled = 0;
  /** Some of the effect, or effect and record that disagree. */
  partial = 0;
  /** Promises that are not about effects: exit codes, sessions, times. */
  broken = 0;
  seconds = 0;
  /** What the fault needs is not on this machine. */
  isLeftOut = false;
  /** What was measured besides, for the table. */
  readonly notes: string[] = [];
  readonly problems: string[] = [];
  readonly #times = new Map<string, number[]>();

  /** A promise that was not kept. */
  problem(text: string): void {
    this.broken++;
    this.example(text);
  }

  /** A problem that is counted in one of the figures. */
  example(text: string): void {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push(text);
  }

  /** Milliseconds that something took. */
  timed(what: string, ms: number): void {
    this.#times.set(what, [...this.times(what), ms]);
  }

  times(what: string): readonly number[] {
    return this.#times.get(what) ?? [];
  }

  add(other: Tally): void {
    for (const figure of FIGURES) this[figure] += other[figure];
    this.isLeftOut ||= other.isLeftOut;
    this.notes.push(...other.notes);
    for (const problem of other.problems) this.example(problem);
    for (const [what, times] of other.#times) for (const ms of times) this.timed(what, ms);
  }

  /** Tasks whose effect did not happen exactly once. */
  get wrong(): number {
    return this.lost + this.doubled + this.partial;
  }
}

/** The value that this part of the values does not exceed; 0 where there are none. */
export function quantile(values: readonly number[], part: number): number {
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

/** What the suite thinks of a fault. A control must be found guilty. */
export function verdictOf(fault: Fault, tally: Tally): { readonly text: string; readonly isGood: boolean } {
  if (tally.isLeftOut) return { text: 'LEFT OUT: not on this machine', isGood: true };
  if (fault.control)
    return tally.wrong > 0
      ? { text: 'guilty, as it must be', isGood: true }
      : { text: 'NOT FOUND GUILTY', isGood: false };
  if (tally.wrong + tally.broken > 0)
    return { text: tally.broken > 0 ? `BROKEN (${tally.broken})` : 'WRONG', isGood: false };
  return { text: 'once', isGood: true };
}

/** The table, in Markdown. */
export function table(rows: readonly { readonly fault: Fault; readonly tally: Tally }[]): string {
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
    verdictOf(fault, tally).text,
  ]);
  return [...head, ...body].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
