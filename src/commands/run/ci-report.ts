import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { describeThrown } from '../../errors.js';
import { formatAnnotations, formatStepSummary, type Locate } from '../../runtime/report/github.js';
import { buildCodeQuality } from '../../runtime/report/gitlab.js';
import type { RunReport } from '../../runtime/report/run-report.js';
import { formatJson } from '../../runtime/report/safe-text.js';

type Variables = Readonly<Record<string, string | undefined>>;

/** The variable with the path of the Code Quality report. */
export const CODE_QUALITY_VARIABLE = 'ETL_CODE_QUALITY';

/** The outputs for a CI system. */
export interface CiTargets {
  /** True if annotations for GitHub go to stderr. */
  readonly annotates: boolean;
  /** The file to which the summary of the step is added. */
  readonly stepSummary: string | undefined;
  /** The file of GitLab's Code Quality report. */
  readonly codeQuality: string | undefined;
  /** The root of the repository, where the paths in reports start. */
  readonly root: string;
}

/**
 * Finds the targets by the variables of the CI systems. `codeQuality` is the value of `--code-quality`; ETL_CODE_QUALITY
 * is used without it. An empty value counts as absent.
 *
 * - https://docs.github.com/actions/reference/workflows-and-actions/variables
 * - https://docs.gitlab.com/ci/variables/predefined_variables/
 */
export function findCiTargets(
  codeQuality: string | undefined,
  variables: Variables,
  directory: string,
): CiTargets {
  const isGithub = variables['GITHUB_ACTIONS'] === 'true';
  const file = codeQuality || variables[CODE_QUALITY_VARIABLE] || undefined;
  const root = (isGithub ? variables['GITHUB_WORKSPACE'] : variables['CI_PROJECT_DIR']) || directory;
  return {
    annotates: isGithub,
    stepSummary: (isGithub && variables['GITHUB_STEP_SUMMARY']) || undefined,
    codeQuality: file && resolve(directory, file),
    root,
  };
}

/** The options of `reportToCi`. */
export interface CiServices {
  /** Finds the position of a failure in the repository. */
  readonly locate: Locate;
  /** The path of the config in the repository, for a failure without a position. */
  readonly file: string;
  readonly showsRowData: boolean;
  /** Writes lines that GitHub obeys. */
  readonly command: (text: string) => void;
  /** Takes one line that a person should read. */
  readonly notice: (text: string) => void;
}

/** Reports the end of a run to the CI systems. Never throws: a file that can't be written is a notice. */
export async function reportToCi(report: RunReport, targets: CiTargets, services: CiServices): Promise<void> {
  const { annotates, stepSummary, codeQuality } = targets;
  const { locate, file, showsRowData, command } = services;
  const write = async (what: string, path: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      services.notice(
        `the ${what} ${path} could not be written (${describeThrown(error)}); the run is not affected`,
      );
    }
  };
  if (annotates) command(formatAnnotations(report, locate, showsRowData));
  if (stepSummary !== undefined)
    await write('step summary', stepSummary, () => appendFile(stepSummary, formatStepSummary(report)));
  if (codeQuality === undefined) return;
  await write('Code Quality report', codeQuality, async () => {
    await mkdir(dirname(codeQuality), { recursive: true });
    await writeFile(
      codeQuality,
      `${formatJson(buildCodeQuality(report, { locate, file, showsRowData }), 2)}\n`,
    );
  });
}
