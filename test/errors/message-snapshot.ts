import { expect } from 'chai';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EtlError } from '../../src/errors.js';
import { formatErrorLines, joinLines } from '../../src/runtime/report/words.js';
import { ROOT } from '../support/cli.js';

const UNPAINTED = { good: String, bad: String, faint: String, strong: String };

/**
 * The committed messages of one test file, by error code. The tests compare each message with the file, so that nobody
 * changes a message by accident. `UPDATE_ERRORS=1 npm test` writes the files.
 */
export class MessageSnapshot {
  readonly #file: string;
  readonly #messages = new Map<string, string>();

  /** `name` is the name of the file in `test/fixtures/errors`, without `.txt`. */
  constructor(name: string) {
    this.#file = join(ROOT, `test/fixtures/errors/${name}.txt`);
  }

  /** Adds the message of a code. `varying` are texts that differ in each run, by their names. */
  add(code: string, message: string, varying: Readonly<Record<string, string>> = {}): void {
    expect(message, `the message of ${code}`).to.match(new RegExp(`^${code} `, 'm'));
    this.#messages.set(code, normalize(message, varying));
  }

  /** Adds an error with all of its parts, as a terminal shows it. */
  addError(code: string, error: unknown, varying: Readonly<Record<string, string>> = {}): void {
    expect(error).to.be.instanceOf(EtlError);
    this.add(code, joinLines(formatErrorLines(error as EtlError, UNPAINTED)), varying);
  }

  /** Compares all messages with the file, or writes the file. */
  compare(): void {
    const text = [...this.#messages]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, message]) => `${message.trimEnd()}\n`)
      .join('\n');
    if (process.env['UPDATE_ERRORS'] === '1') writeFileSync(this.#file, text);
    expect(text).to.equal(readFileSync(this.#file, 'utf8'));
  }
}

/** Replaces what differs in each run: paths, ports, times, process IDs and the versions of programs. */
function normalize(message: string, varying: Readonly<Record<string, string>>): string {
  let text = message;
  for (const [name, value] of Object.entries(varying)) text = text.replaceAll(value, `<${name}>`);
  return text
    .replaceAll(/\S*test\/errors\/[\w-]+\.test\.ts:\d+:\d+/g, '<test>')
    .replaceAll(ROOT, '<root>')
    .replaceAll(/began \d+ s ago/g, 'began <time> ago')
    .replaceAll(/since \d\d:\d\d:\d\d UTC \(\d+ s ago\)/g, 'since <time>')
    .replaceAll(/run-[0-9a-f-]{36}/g, '<run>')
    .replaceAll(/epoch \d+, the newest is \d+/g, 'epoch <epoch>, the newest is <epoch>')
    .replaceAll(/127\.0\.0\.1:\d{4,5}/g, '127.0.0.1:<port>')
    .replaceAll(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?/g, '<time>')
    .replaceAll(/\d{8}T\d{6}Z-[0-9a-f]{8}/g, '<run>')
    .replaceAll(/\b(pid|process|backend) \d+/g, '$1 <pid>')
    .replaceAll(/etl_test_\d+_[0-9a-f]+/g, '<database>');
}
