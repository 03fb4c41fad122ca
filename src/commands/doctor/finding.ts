import { buildErrorFields, type Paint, joinLines } from '../../runtime/report/words.js';
import { type EtlError, EXIT } from '../../errors.js';
import { formatTable } from '../program/terminal.js';

/** One thing that `etl doctor` has looked at. */
export interface Finding {
  /** The kind of the finding: `node`, `connection`. */
  readonly check: string;
  /** The ID of the connection or of the Dag, if there can be several. */
  readonly subject?: string | undefined;
  /** `warn`: a run works, but not as a person may expect. `fail`: a run does not work. */
  readonly status: 'ok' | 'warn' | 'fail';
  /** The finding in words. Has no secret. */
  readonly text: string;
  /** The advice for the user. */
  readonly fix?: string | undefined;
  readonly error?: EtlError | undefined;
  /** Values for another program, by their names in JSON. */
  readonly values?: Readonly<Record<string, unknown>>;
}

/** Creates the finding of an error. The report shows the error itself after the lines. */
export function createFailure(check: string, subject: string | undefined, error: EtlError): Finding {
  return { check, subject, status: 'fail', text: `${error.code} ${error.what}`, error };
}

/** Returns the exit code of the first error, else 1 if something fails, else 0. */
export function chooseDoctorExitCode(findings: readonly Finding[]): number {
  const failed = findings.filter(({ status }) => status === 'fail');
  const [first] = failed;
  if (first === undefined) return EXIT.success;
  return failed.find(({ error }) => error !== undefined)?.error?.exitCode ?? EXIT.taskFailed;
}

const MARKS: Readonly<Record<Finding['status'], readonly [mark: string, colour: keyof Paint]>> = {
  ok: ['✔', 'good'],
  warn: ['!', 'strong'],
  fail: ['✖', 'bad'],
};

/** Formats the findings for a person: one line each, and one more line for an advice. */
export function formatFindings(findings: readonly Finding[], paint: Paint): string {
  const rows = findings.map(({ check, subject = '', text }) => [check, subject, text]);
  const lines = formatTable(rows).split('\n');
  return joinLines(
    findings.flatMap(({ status, fix, error }, index) => {
      const [mark, colour] = MARKS[status];
      const advice = fix === undefined || error !== undefined ? [] : [`    ${paint.faint('do')}  ${fix}`];
      return [`${paint[colour](mark)} ${lines[index] ?? ''}`, ...advice];
    }),
  );
}

/** Returns the JSON of the findings for another program. */
export function buildFindingsJson(findings: readonly Finding[]): object {
  return {
    ok: findings.every(({ status }) => status !== 'fail'),
    checks: findings.map(({ check, subject, status, text, fix, error, values }) => ({
      check,
      subject,
      status,
      text,
      fix,
      ...values,
      error: error && buildErrorFields(error),
    })),
  };
}
