import { dirname } from 'node:path';
import type { EtlError } from '../../errors.js';
import { tryPlanDag } from '../../runtime/dag/plan.js';
import { DEFAULT_ZONE } from '../../runtime/interval/zone-time.js';
import type { Program } from '../program/program.js';
import { createFailure, type Finding } from './finding.js';

/** The flag, the variable or the search that has named the config. */
interface ConfigSource {
  /** The value of `--config`. */
  readonly flag: string | undefined;
  /** The value of ETL_CONFIG. */
  readonly variable: string | undefined;
  /** The working directory. */
  readonly directory: string;
}

/** Says which config is used and why, and which files have set variables. */
export function findConfigSource({ loaded, environment }: Program, source: ConfigSource): readonly Finding[] {
  const { file, config } = loaded;
  const [by, why] = describeSource(source, file);
  const count = config.dags.length;
  const text = `${loaded.name}, ${why}; ${count} ${count === 1 ? 'Dag' : 'Dags'}`;
  const counts = new Map<string, number>();
  for (const set of environment.sources.values()) counts.set(set, (counts.get(set) ?? 0) + 1);
  counts.delete('environment');
  return [
    { check: 'config', status: 'ok', text, values: { file, by } },
    ...Array.from(counts, ([name, variables]): Finding => {
      const set = `sets ${variables} ${variables === 1 ? 'variable' : 'variables'}`;
      return { check: 'variables', subject: name, status: 'ok', text: set, values: { variables } };
    }),
    ...environment.notices.map((notice): Finding => ({ check: 'variables', status: 'warn', text: notice })),
  ];
}

function describeSource(
  { flag, variable, directory }: ConfigSource,
  file: string,
): [by: string, why: string] {
  if (flag !== undefined) return ['flag', 'named by --config'];
  if (variable !== undefined) return ['variable', 'named by ETL_CONFIG'];
  const where =
    dirname(file) === directory ? 'in the working directory' : `above the working directory ${directory}`;
  return ['search', `found by the search ${where}`];
}

/** Returns the faults of Dags that can't be planned. */
export function findDagFaults({ loaded }: Program): readonly Finding[] {
  const { dags, defaults } = loaded.config;
  return dags.flatMap((dag) =>
    tryPlanDag(dag, defaults).faults.map((fault: EtlError) => createFailure('dag', dag.id, fault)),
  );
}

/**
 * Compares the time zone of each scheduled Dag with that of this machine, in which most versions of cron count. `now` is
 * the time whose offsets, and those of half a year later, must agree.
 */
export function findTimeZones({ loaded }: Program, now: Date): readonly Finding[] {
  const machine = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return loaded.config.dags.flatMap((dag): readonly Finding[] => {
    if (dag.schedule === undefined) return [];
    const timezone = dag.schedule.timezone ?? DEFAULT_ZONE;
    const finding = { check: 'time zone', subject: dag.id, values: { timezone, machine } };
    if (isAlike(timezone, machine, now))
      return [{ ...finding, status: 'ok', text: `${timezone}, as this machine (${machine})` }];
    return [
      {
        ...finding,
        status: 'warn',
        text: `the Dag counts in ${timezone}, this machine in ${machine}`,
        fix: `if a cron of this machine starts the Dag, set \`timezone: '${machine}'\`; see docs/deploy.md`,
      },
    ];
  });
}

const HALF_A_YEAR_MS = 182 * 24 * 3600 * 1000;

/** Says whether two time zones have the same offset now and half a year later. */
function isAlike(one: string, other: string, now: Date): boolean {
  const later = new Date(now.getTime() + HALF_A_YEAR_MS);
  return [now, later].every((time) => formatOffset(one, time) === formatOffset(other, time));
}

function formatOffset(timeZone: string, time: Date): string | undefined {
  const parts = new Intl.DateTimeFormat('en', { timeZone, timeZoneName: 'longOffset' }).formatToParts(time);
  return parts.find(({ type }) => type === 'timeZoneName')?.value;
}
