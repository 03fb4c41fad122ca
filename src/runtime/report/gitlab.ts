import { hash } from 'node:crypto';
import { EXIT } from '../../errors.js';
import { formatFailureTitle, type Locate } from './github.js';
import { listFailures, type RunReport } from './run-report.js';
import { makeSafe } from './safe-text.js';
import { formatErrorLines, NO_PAINT } from './words.js';

/** One entry of a Code Quality report: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format */
export interface CodeQualityIssue {
  readonly description: string;
  readonly check_name: string;
  /** The same for the same failure of another run, whatever its line is, and unique in the report. */
  readonly fingerprint: string;
  readonly severity: 'major' | 'critical';
  readonly location: { readonly path: string; readonly lines: { readonly begin: number } };
}

/** The longest description, in UTF-16 units. */
const DESCRIPTION_LIMIT = 4000;

/**
 * Builds GitLab's Code Quality report of a run: an entry for each failure, at its position, or else in `file`. A run that
 * succeeded has no entry. The severity is `major` for a check and `critical` for everything else.
 */
export function buildCodeQuality(
  report: RunReport,
  {
    locate,
    file,
    showsRowData,
  }: { readonly locate: Locate; readonly file: string; readonly showsRowData: boolean },
): readonly CodeQualityIssue[] {
  const seen = new Map<string, number>();
  return listFailures(report).map((failure) => {
    const { taskId = '', error } = failure;
    const subject = [report.dagId, taskId, error.code].join('\0');
    const count = (seen.get(subject) ?? 0) + 1;
    seen.set(subject, count);
    const lines = formatErrorLines(error, NO_PAINT, showsRowData).map((line) => line.trim());
    const resume = report.resume === undefined ? [] : [`resume: ${report.resume}`];
    const text = makeSafe(
      [`${formatFailureTitle(report, failure)}: ${lines.join('\n')}`, ...resume].join('\n'),
    );
    const position = locate(failure);
    return {
      description: text.slice(0, DESCRIPTION_LIMIT).replace(/[\uD800-\uDBFF]$/, ''),
      check_name: error.code,
      fingerprint: hash('sha256', `${subject}\0${count}`, 'hex').slice(0, 32),
      severity: error.exitCode === EXIT.checkFailed ? 'major' : 'critical',
      location: { path: position?.path ?? file, lines: { begin: position?.line ?? 1 } },
    };
  });
}
