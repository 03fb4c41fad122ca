import { expect } from 'chai';
import fc from 'fast-check';
import { createPaint, renderText } from '../../../src/commands/program/terminal.js';
import { EtlError } from '../../../src/errors.js';
import type { RunEvent } from '../../../src/runtime/report/event.js';
import { buildEventJson, createNdjsonReporter } from '../../../src/runtime/report/ndjson-reporter.js';
import { createPlainReporter } from '../../../src/runtime/report/plain-reporter.js';
import { formatJson } from '../../../src/runtime/report/safe-text.js';
import { createStatusReporter } from '../../../src/runtime/report/status.js';
import { formatAnnotations, formatStepSummary } from '../../../src/runtime/report/github.js';
import { buildCodeQuality } from '../../../src/runtime/report/gitlab.js';
import { formatSummary, type RunReport } from '../../../src/runtime/report/run-report.js';
import { FailureLog } from '../../../src/runtime/run/failure-log.js';
import { secrets } from '../../../src/runtime/secrets/secrets.js';
import { HOSTILE, isObeyed, splitLines } from '../../support/hostile-text.js';
import { parseWorkflowCommand } from '../../support/workflow-command.js';
import { NOTATIONS } from '../../support/notations.js';

/** The number of random events. Each event goes to every sink. `ETL_FUZZ_EVENTS` sets another number. */
const EVENTS = Number(process.env['ETL_FUZZ_EVENTS'] ?? 400);
/** Run the test with `ETL_FUZZ_SEED` to repeat it with the seed in its title. */
const SEED = Number(process.env['ETL_FUZZ_SEED'] ?? Date.now() % 1_000_000);

/** Secrets that contain characters which each notation writes in another way. */
const SECRETS = [
  'Kq8!x*Wz/4v',
  'hunter%2F22&Zq',
  'it\'s "Xy" 9z',
  'a\\Nb\\\\c7Qw',
  'Zoë漢字Pw1x',
  ':"Vf3,"rT8',
  'Lk5\nMm7 Jh2',
];
/** The control sequences of the colours of a report. */
const COLOUR = new RegExp(String.raw`\u001b\[(?:1|2|22|3[129])m`, 'g');
/** A word that stands for a value of a row. It is only in the row data of errors. */
const ROW_VALUE = 'row-value-7b1f';

const SECRET_TEXT = fc
  .tuple(fc.constantFrom(...SECRETS), fc.constantFrom(...Object.values(NOTATIONS)))
  .map(([secret, write]) => write(secret));
const TEXT = fc
  .array(fc.oneof(HOSTILE, SECRET_TEXT, fc.constantFrom('rows', ' ', '\n', 'x')), { maxLength: 6 })
  .map((parts) => parts.join(' '));

const ERROR = fc.tuple(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT).map(
  ([what, where, why, fix, data, inner]) =>
    new EtlError('ETL-3001', {
      what,
      where,
      why,
      fix,
      data,
      rowData: `${ROW_VALUE} ${why}`,
      cause: new AggregateError([new Error(inner), inner], what, {
        cause: Object.assign(new Error(fix), { code: data }),
      }),
    }),
);
const BASE = fc.record({ at: fc.constant(new Date(0)), runId: TEXT, dagId: TEXT });
const TASK = fc.record({
  taskId: TEXT,
  attempts: fc.nat(3),
  durationMs: fc.nat(9999),
  reused: fc.boolean(),
  rows: fc.nat(),
  error: ERROR,
  state: fc.constantFrom('failed' as const, 'skipped' as const, 'success' as const),
});
const FIELDS = fc.dictionary(
  TEXT,
  fc.oneof(TEXT, fc.integer(), fc.record({ deep: fc.array(TEXT, { maxLength: 2 }) })),
  {
    maxKeys: 3,
  },
);
const BODY = fc.oneof(
  fc.record({ type: fc.constant('task_log' as const), taskId: TEXT, message: TEXT, fields: FIELDS }),
  fc.record({ type: fc.constant('notice' as const), text: TEXT }),
  TASK.map((task) => Object.assign({ type: 'task_finished' as const }, task)),
  fc
    .tuple(TASK, TEXT)
    .map(([task, reason]) => Object.assign({ type: 'task_finished' as const, reason }, task)),
  fc.record({
    type: fc.constant('task_retrying' as const),
    taskId: TEXT,
    attempt: fc.nat(3),
    error: ERROR,
    delayMs: fc.nat(99),
  }),
  fc.record({ type: fc.constant('task_progress' as const), taskId: TEXT, rows: fc.nat(), bytes: fc.nat() }),
  fc.record({
    type: fc.constant('run_started' as const),
    tasks: fc.nat(9),
    home: TEXT,
    interval: fc.constant(undefined),
    timezone: fc.constant('UTC'),
  }),
  fc.record({
    type: fc.constant('run_finished' as const),
    state: fc.constant('failed' as const),
    durationMs: fc.nat(99),
    tasks: fc.array(TASK, { maxLength: 2 }),
    errors: fc.array(ERROR, { maxLength: 1 }),
  }),
);
const EVENT = fc.tuple(BASE, BODY).map(([base, body]): RunEvent => Object.assign({}, base, body));

interface Sink {
  /** True if each line is an annotation that GitHub obeys. */
  readonly isCommand?: boolean;
  readonly isJson?: boolean;
  readonly showsRowData?: boolean;
  readonly isColoured?: boolean;
  /** Returns what the sink writes for an event. */
  readonly write: (event: RunEvent) => string;
}

/** Returns a plain report of one event, as stderr gets it. */
function writePlain(
  event: RunEvent,
  options: { colour?: boolean; quiet?: boolean; showsRowData?: boolean },
): string {
  const { colour = false, quiet = false, showsRowData = false } = options;
  let written = '';
  const write = (text: string): void => void (written += renderText(text));
  createPlainReporter({ write, paint: createPaint(colour), quiet, showsRowData }).report(event);
  return written;
}

/** Returns the report of a run that has ended with this event. Any other event says why the run did not start. */
function createReport(event: RunEvent): RunReport {
  const { dagId, runId } = event;
  const base = { dagId, runId, exitCode: 1, interval: undefined, timezone: 'UTC' };
  if (event.type === 'run_finished') return { ...event, ...base, resume: `etl run ${dagId} --resume` };
  const errors = 'error' in event && event.error !== undefined ? [event.error] : [];
  return { ...base, runId: undefined, state: 'failed', tasks: [], errors, durationMs: 0, resume: undefined };
}

/** Returns a position in a file whose name is a text of the event. */
const locate =
  ({ dagId }: RunEvent) =>
  () => ({ path: dagId, line: 1, column: 2 });

const SINKS: Readonly<Record<string, Sink>> = {
  'the plain report': { write: (event) => writePlain(event, {}) },
  'the coloured report': { isColoured: true, write: (event) => writePlain(event, { colour: true }) },
  'the report of --quiet': { write: (event) => writePlain(event, { quiet: true }) },
  'the report with row data': {
    showsRowData: true,
    write: (event) => writePlain(event, { showsRowData: true }),
  },
  'the report in a terminal': {
    write: (event) => {
      let written = '';
      const write = (text: string): void => void (written += renderText(text));
      const lines = createPlainReporter({
        write,
        paint: createPaint(false),
        quiet: false,
        showsRowData: false,
      });
      createStatusReporter(lines, { write, control: () => undefined, columns: () => 10_000 }).report(event);
      return written;
    },
  },
  NDJSON: {
    isJson: true,
    write: (event) => {
      let written = '';
      createNdjsonReporter((text) => (written += text), false).report(event);
      expect(written.trimEnd()).not.to.include('\n');
      return written;
    },
  },
  'JSON with row data': {
    isJson: true,
    showsRowData: true,
    write: (event) => `${formatJson(buildEventJson(event, true), 2)}\n`,
  },
  'the body of a ping': { write: (event) => formatSummary(createReport(event), false) },
  'the body of a ping with row data': {
    showsRowData: true,
    write: (event) => formatSummary(createReport(event), true),
  },
  'annotations of GitHub': {
    isCommand: true,
    write: (event) => formatAnnotations(createReport(event), locate(event), false),
  },
  'annotations of GitHub with row data': {
    isCommand: true,
    showsRowData: true,
    write: (event) => formatAnnotations(createReport(event), locate(event), true),
  },
  'the step summary of GitHub': { write: (event) => formatStepSummary(createReport(event)) },
  'the Code Quality report of GitLab': {
    isJson: true,
    write: (event) => {
      const options = { locate: locate(event), file: 'etl.config.ts', showsRowData: false };
      return formatJson(buildCodeQuality(createReport(event), options), 2);
    },
  },
  'the ledger': {
    isJson: true,
    write: (event) => {
      const log = new FailureLog((text) => secrets.mask(text), false);
      log.add(event);
      return formatJson(log.rows);
    },
  },
};

/** Reads a text in each way in which somebody could read a secret out of it. */
function* decode(text: string): Generator<string> {
  yield text;
  for (let decoded = text, i = 0; i < 2; i++) {
    decoded = decoded.replace(/(?:%[0-9a-f]{2})+/gi, (each) =>
      Buffer.from(each.replaceAll('%', ''), 'hex').toString(),
    );
    yield decoded;
  }
  const unescaped = text.replace(/\\u([0-9a-f]{4})/gi, (_all, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  );
  yield unescaped.replace(/\\+n/g, '\n').replace(/\\+(.)/gs, '$1');
  yield text.replaceAll('\\\\', '\\');
  yield text.replaceAll("''", "'").replaceAll("'\\''", "'");
  yield text.replace(/\n[ \t]+/g, '\n');
  for (const [token] of text.matchAll(/[A-Za-z0-9+/_-]{8,}/g)) {
    for (const start of [0, 1, 2, 3]) yield Buffer.from(token.slice(start), 'base64').toString();
    yield Buffer.from(token, 'hex').toString();
  }
}

/**
 * Returns the texts in the commands that GitHub sees in an output. Fails if a line is anything else than an annotation with
 * the properties of our annotations.
 */
function listCommandTexts(written: string): readonly string[] {
  const lines = written === '' ? [] : written.replace(/\n$/, '').split('\n');
  return lines.flatMap((line) => {
    expect(splitLines(line)).to.deep.equal([line]);
    const { name, properties, data } = parseWorkflowCommand(line) ?? {
      name: 'none',
      properties: {},
      data: '',
    };
    expect(name, line).to.equal('error');
    expect(['title', 'col file line title']).to.include(Object.keys(properties).toSorted().join(' '));
    // The rest of the line is a text, too, in which no other command may begin.
    return Object.values(properties).concat(data, line.slice(2));
  });
}

describe('every output', () => {
  before(() => secrets.add({ secrets: SECRETS, known: [] }));

  /** Fails if the sink writes anything for the event that it must not write. */
  function checkSink(sink: Sink, event: RunEvent): void {
    const written = sink.write(event);
    if (sink.isJson) JSON.parse(written);
    for (const text of decode(written))
      for (const secret of SECRETS)
        expect(text.includes(secret), `${JSON.stringify(secret)} in ${written}`).to.equal(false);
    const uncoloured = sink.isColoured ? written.replaceAll(COLOUR, '') : written;
    expect(uncoloured).not.to.match(/[^\P{Cc}\n\t]|[\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/u);
    const lines = sink.isCommand ? listCommandTexts(uncoloured) : [uncoloured];
    expect(lines.flatMap(splitLines).filter(isObeyed)).to.deep.equal([]);
    if (!sink.showsRowData) expect(written).not.to.include(ROW_VALUE);
  }

  for (const [name, sink] of Object.entries(SINKS)) {
    it(`has no secret, no control character and no line that a CI system obeys: ${name} (seed ${SEED})`, () => {
      const property = fc.property(EVENT, (event) => checkSink(sink, event));
      fc.assert(property, { numRuns: EVENTS, seed: SEED });
    });
  }

  const unsafe: Readonly<Record<string, (event: RunEvent) => string>> = {
    'a secret': (event) => JSON.stringify(event),
    'a control character': (event) => `${secrets.mask(JSON.stringify(event))}\u001b`,
    'a line that a CI system obeys': () => '##[error]x',
    'a value of a row': () => ROW_VALUE,
  };
  for (const [title, write] of Object.entries(unsafe)) {
    it(`is refused by this test if it has ${title}`, () => {
      const property = fc.property(EVENT, (event) => checkSink({ write }, event));
      expect(fc.check(property, { numRuns: 200, seed: SEED }).failed).to.equal(true);
    });
  }
});
