import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { EtlCommand, historyConnFlag } from '../command.js';
import { getDuration, readRuns, type CountedRun } from './history/past-runs.js';
import { buildIntervalJson, formatMarkedTable, alignRight } from './history/history-text.js';
import { Ledgers } from './program/ledgers.js';
import { formatDuration } from '../runtime/duration.js';
import { DEFAULT_ZONE, formatInterval, formatTime } from '../runtime/interval/zone-time.js';
import { groupDigits, type Paint, joinLines } from '../runtime/report/words.js';

const DEFAULT_LIMIT = 20;

/** `etl runs`: lists past runs. */
export class RunsCommand extends EtlCommand {
  static override summary = 'List past runs, the newest first.';
  static override description = `The command reads the ledgers of the config's Dags.

A run is "crashed" if it has not ended and no process works on it.`;
  static override examples = [
    '<%= config.bin %> runs',
    '<%= config.bin %> runs monthly-report --limit 5',
    '<%= config.bin %> runs --json',
  ];
  static override args = { dag: Args.string({ description: 'List only runs of this Dag.' }) };
  static override flags = {
    conn: historyConnFlag,
    limit: Flags.integer({
      description: 'The maximum number of runs to list.',
      default: DEFAULT_LIMIT,
      min: 1,
    }),
  };

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(RunsCommand);
    const program = await this.loadProgram(flags, flags.conn === undefined);
    await using ledgers = new Ledgers(program);
    const runs = await readRuns(program, ledgers, { dagId: args.dag, limit: flags.limit });
    const now = new Date();
    if (flags.json) return this.printJson(runs.map((run) => buildRunJson(run, now)));
    if (runs.length === 0)
      return this.err(`no run${args.dag === undefined ? '' : ` of "${args.dag}"`} is recorded\n`);
    this.out(formatRuns(runs, now, this.paint(flags.color, 'stdout')));
  }
}

/** Returns the JSON of a run in the list, for another program. */
function buildRunJson(run: CountedRun, now: Date): unknown {
  return {
    run_id: run.runId,
    dag: run.dagId,
    state: run.state,
    interval: buildIntervalJson(run.interval),
    tasks_done: run.tasksDone,
    tasks: run.taskCount,
    rows: run.rows,
    started_at: run.startedAt,
    finished_at: run.finishedAt,
    duration_ms: getDuration(run, now),
    connection: run.connectionId,
    resume: run.resume,
  };
}

/**
 * Formats a heading and a line for each run. If a run can be resumed, the line below it has the command that resumes
 * it.
 */
function formatRuns(runs: readonly CountedRun[], now: Date, paint: Paint): string {
  const tasks = alignRight(['TASKS', ...runs.map((run) => `${run.tasksDone}/${run.taskCount}`)]);
  const rows = alignRight(['ROWS', ...runs.map((run) => groupDigits(run.rows))]);
  const durations = alignRight(['DURATION', ...runs.map((run) => formatRunDuration(run, now))]);
  // `undefined` stands for the heading. The columns above begin with their headings, so the indexes agree.
  const zone = findCommonZone(runs);
  const lines = [undefined, ...runs].map((run, index) => {
    const [first, interval] = run
      ? [
          [run.runId, run.dagId, run.state, formatTime(run.startedAt, zone)],
          run.interval ? formatInterval(run.interval, run.timezone) : '',
        ]
      : [['RUN', 'DAG', 'STATE', `STARTED (${zone})`], 'INTERVAL'];
    const numbers = [durations, tasks, rows].map((column) => column[index] ?? '');
    return { state: run?.state, cells: [...first, ...numbers, interval] };
  });
  const [head = '', ...body] = formatMarkedTable(lines, paint);
  const shown = body.flatMap((line, index) => {
    const resume = runs[index]?.resume;
    return resume === undefined ? [line] : [line, `   ${paint.faint(`resume: ${resume}`)}`];
  });
  return joinLines([head, ...shown]);
}

/** Returns the time zone of the runs, or UTC if their Dags have several. */
function findCommonZone(runs: readonly CountedRun[]): string {
  const zones = new Set(runs.map(({ timezone }) => timezone));
  const [first = DEFAULT_ZONE] = zones;
  return zones.size === 1 ? first : DEFAULT_ZONE;
}

/** Formats the duration of a run, such as `2m 3s`. A dash if the duration is unknown. */
function formatRunDuration(run: CountedRun, now: Date): string {
  const ms = getDuration(run, now);
  return ms === undefined ? '-' : formatDuration(ms);
}
